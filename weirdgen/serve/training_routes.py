"""The routes of what is trained: files that are uploaded, and finetuning jobs.

In: a `Backend`. Out: a router with OpenAI's paths below /v1/files and /v1/fine_tuning. What a job does is in
`weirdgen.serve.training`.
"""

# No `from __future__ import annotations`: FastAPI reads the annotations of routes, whose types exist inside a function only.

import asyncio
import re
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from weirdgen.serve.backend import Backend
from weirdgen.serve.bodies import only_known, read_body, takes
from weirdgen.serve.hyperparameters import recipe_of
from weirdgen.serve.problems import bad
from weirdgen.serve.requests import JobRequest

if TYPE_CHECKING:
    from fastapi import APIRouter


METADATA = {
    "name": "metadata",
    "in": "query",
    "style": "deepObject",
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    "description": "Only jobs with these: metadata[key]=value. metadata=null: only jobs without any.",
}


def training_routes(backend: Backend) -> "APIRouter":
    """Routes of files and of jobs."""
    from fastapi import APIRouter, File, Form, Query, Request, UploadFile
    from fastapi.responses import JSONResponse, Response

    routes = APIRouter(dependencies=[only_known()])
    models, jobs, files = backend.models, backend.jobs, backend.files
    Limit = Annotated[int, Query(ge=1, le=10_000)]
    After = Annotated[str | None, Query(max_length=200)]

    @routes.post("/v1/files")
    def upload(purpose: Annotated[str, Form(max_length=100)], file: Annotated[UploadFile, File()]) -> JSONResponse:
        return JSONResponse(files.add(file.file, file.filename, purpose).shown())

    @routes.get("/v1/files")
    def list_files(
        purpose: Annotated[str | None, Query(max_length=100)] = None,
        limit: Limit = 10_000,
        after: After = None,
        order: Annotated[str, Query(pattern="^(asc|desc)$")] = "desc",
    ) -> JSONResponse:
        found = [file.shown() for file in files.all() if purpose in (None, file.purpose)]
        return JSONResponse(_page_of(found if order == "desc" else found[::-1], limit, after))

    @routes.get("/v1/files/{file_id}")
    def retrieve_file(file_id: str) -> JSONResponse:
        return JSONResponse(files.get(file_id).shown())

    @routes.get("/v1/files/{file_id}/content", response_class=Response)
    def file_content(file_id: str) -> Response:
        return Response(files.path(file_id).read_bytes(), media_type="application/octet-stream")

    @routes.delete("/v1/files/{file_id}")
    def delete_file(file_id: str) -> JSONResponse:
        files.delete(file_id)
        return JSONResponse({"id": file_id, "object": "file", "deleted": True})

    @routes.post("/v1/fine_tuning/jobs", openapi_extra=takes(JobRequest))
    async def create_job(request: Request) -> JSONResponse:
        asked = await read_body(request, JobRequest)
        base = models.base(asked.model)
        for param in ("training_file", "validation_file"):
            name = getattr(asked, param)
            if name is not None and files.get(name).purpose != "fine-tune":
                raise bad(f"{name} was not uploaded with the purpose 'fine-tune'", param)
        recipe_of(asked.asked, asked.recipe, 1_000_000)  # so that a wrong field is an error now, and not of the job
        seed = secrets.randbelow(2**31) if asked.seed is None else asked.seed
        job = await asyncio.to_thread(
            jobs.create,
            base,
            asked.training_file,
            _suffix(asked.suffix),
            seed,
            asked.asked,
            asked.recipe,
            asked.metadata,
            asked.validation_file,
        )
        return JSONResponse(jobs.shown(job))

    @routes.get("/v1/fine_tuning/jobs", openapi_extra={"parameters": [METADATA]})
    def list_jobs(
        request: Request,
        limit: Limit = 20,
        after: After = None,
        metadata: Annotated[Literal["null"] | None, Query(include_in_schema=False)] = None,
    ) -> JSONResponse:
        wanted = {name[len("metadata[") : -1]: value for name, value in request.query_params.items() if "[" in name}
        found = [job for job in jobs.all() if wanted.items() <= (job.metadata or {}).items()]
        if metadata == "null":
            found = [job for job in found if not job.metadata]
        return JSONResponse(_page_of([jobs.shown(job) for job in found], limit, after))

    @routes.get("/v1/fine_tuning/jobs/{job_id}")
    def retrieve_job(job_id: str) -> JSONResponse:
        return JSONResponse(jobs.shown(jobs.get(job_id)))

    @routes.post("/v1/fine_tuning/jobs/{job_id}/cancel")
    def cancel_job(job_id: str) -> JSONResponse:
        return JSONResponse(jobs.shown(jobs.cancel(job_id)))

    @routes.get("/v1/fine_tuning/jobs/{job_id}/events")
    def list_events(job_id: str, limit: Limit = 20, after: After = None) -> JSONResponse:
        return JSONResponse(_page_of(jobs.events(job_id), limit, after))

    @routes.get("/v1/fine_tuning/jobs/{job_id}/checkpoints")
    def list_checkpoints(job_id: str, limit: Limit = 10, after: After = None) -> JSONResponse:
        return JSONResponse(_page_of(jobs.shown_checkpoints(jobs.get(job_id)), limit, after))

    return routes


def _suffix(asked: str | None) -> str:
    """As OpenAI's: what is no letter, digit, dot or underscore becomes a dash."""
    return re.sub(r"[^a-z0-9._]+", "-", (asked or "").lower()).strip("-")


def _page_of(objects: Sequence[dict[str, Any]], limit: int, after: str | None) -> dict[str, Any]:
    """OpenAI's list object: at most `limit` of these, those after the one with this id."""
    start = 0
    if after is not None:
        start = next((i + 1 for i, one in enumerate(objects) if one["id"] == after), len(objects))
    data = list(objects[start : start + limit])
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return {"object": "list", "data": data, **ends, "has_more": start + limit < len(objects)}
