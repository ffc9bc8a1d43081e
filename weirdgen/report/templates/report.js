// The transcript table. Everything a model wrote goes through text nodes; nothing here builds HTML from data.
if (document.getElementById("data")) (() => {
  const PAGE = 25;
  const FEW = 3; // rows that are shown until a reader filters, turns the page or asks for more
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const base = data.arms.findIndex((arm) => arm.role === "base");

  // One entry a (condition, question, sample), holding the answers of every arm and replicate.
  const rows = [];
  const models = new Map(); // "arm:replicate" -> {arm, replicate}
  const verdicts = new Set();
  for (const [condition, question, sample, arm, replicate, prompt, text, cut, chips] of data.rows) {
    let row = rows[rows.length - 1];
    if (!row || row.condition !== condition || row.question !== question || row.sample !== sample) {
      row = { condition, question, sample, prompt: data.prompts[prompt], answers: new Map() };
      rows.push(row);
    }
    const key = arm + ":" + replicate;
    models.set(key, { arm, replicate });
    row.answers.set(key, { text, cut, chips });
    for (const [judge, label] of chips) verdicts.add(judge + ": " + label);
  }
  const baseKey = [...models.keys()].find((key) => models.get(key).arm === base);

  const element = (tag, properties = {}, children = []) => {
    const node = document.createElement(tag);
    Object.assign(node, properties);
    node.append(...children);
    return node;
  };
  const option = (select, value, label) => select.append(element("option", { value, textContent: label }));
  const used = (field) => [...new Set(rows.map((row) => row[field]))];
  const modelName = (key) => {
    if (!models.has(key)) return "none";
    const { arm, replicate } = models.get(key);
    return data.arms[arm].name + (data.arms[arm].role === "base" ? "" : " · seed " + replicate);
  };

  const columns = base >= 0 ? ["base", "control", "treatment"] : ["control", "treatment"];
  for (const name of columns) option($("column"), name, name);
  for (const index of used("condition")) option($("condition"), String(index), data.conditions[index]);
  for (const index of used("question")) option($("question"), String(index), data.questions[index]);
  for (const label of [...verdicts].sort()) option($("verdict"), label, label);
  option($("verdict"), "\u0000cut", "cut at the token limit");
  for (const role of ["control", "treatment"]) {
    const select = $(role);
    const own = [...models.keys()].filter((key) => data.arms[models.get(key).arm].role === role);
    own.sort((a, b) => models.get(a).arm - models.get(b).arm || models.get(a).replicate - models.get(b).replicate);
    for (const key of own) option(select, key, modelName(key));
    if (!own.length) option(select, "", "none");
    const first = own.find((key) => data.arms[models.get(key).arm].name === data.start[role]);
    if (first) select.value = first;
  }

  // What is searched: the words as typed, any white space between them, upper and lower case alike.
  const pattern = (typed) => {
    const words = typed.trim().split(/\s+/).map((word) => word.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"));
    return words[0] ? new RegExp(words.join("\\s+"), "giu") : null;
  };
  const has = (text, wanted) => text.search(wanted) >= 0;

  // Text with the searched words marked, as text nodes and <mark> elements.
  const marked = (text, wanted) => {
    const parts = [];
    let from = 0;
    for (const match of wanted ? text.matchAll(wanted) : []) {
      parts.push(document.createTextNode(text.slice(from, match.index)));
      parts.push(element("mark", { textContent: match[0] }));
      from = match.index + match[0].length;
    }
    parts.push(document.createTextNode(text.slice(from)));
    return parts;
  };
  const chip = (text, kind) => element("span", { className: "chip " + kind, textContent: text });
  const answerCell = (row, key, column, wanted) => {
    const cell = element("td");
    cell.setAttribute("role", "cell");
    cell.append(element("span", { className: "column", textContent: column === "base" ? "base" : column + ": " + modelName(key) }));
    const answer = row.answers.get(key);
    if (!answer) {
      cell.append(element("span", { className: "none", textContent: "no answer in this page" }));
      return cell;
    }
    const empty = answer.text.trim() === "";
    const body = element("span", { className: empty ? "answer none" : "answer", dir: "auto" });
    body.append(...(empty ? ["(empty answer)"] : marked(answer.text, wanted)));
    cell.append(body);
    const chips = answer.chips.map(([judge, label, failed]) => chip(judge + ": " + label, failed ? "failed" : "ok"));
    if (answer.cut) chips.unshift(chip("… cut at the token limit", "cut"));
    if (chips.length) cell.append(element("span", { className: "chips" }, chips));
    return cell;
  };

  let page = 0;
  let opened = false;
  const show = () => {
    const wanted = pattern($("find").value);
    const verdict = $("verdict").value;
    const keys = { base: baseKey, control: $("control").value, treatment: $("treatment").value };
    const looked = $("column").value ? [$("column").value] : columns;
    const fits = (answer) => {
      if (!answer || !verdict) return !verdict;
      if (verdict === "\u0000cut") return Boolean(answer.cut);
      return answer.chips.some(([judge, label]) => judge + ": " + label === verdict);
    };
    const found = rows.filter((row) => {
      if ($("condition").value && String(row.condition) !== $("condition").value) return false;
      if ($("question").value && String(row.question) !== $("question").value) return false;
      const answers = looked.map((column) => row.answers.get(keys[column])).filter(Boolean);
      if (verdict && !answers.some(fits)) return false;
      if (!wanted || (!$("column").value && has(row.prompt, wanted))) return true;
      return answers.some((answer) => fits(answer) && has(answer.text, wanted));
    });
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    page = Math.min(page, pages - 1);
    const first = page * PAGE;
    const visible = found.slice(first, first + (opened ? PAGE : FEW));
    $("more").hidden = opened || found.length <= FEW;
    $("count").textContent = found.length
      ? `${found.length} of ${rows.length} rows; showing ${first + 1}–${first + visible.length}`
      : `0 of ${rows.length} rows`;
    $("page").textContent = `Page ${page + 1} of ${pages}`;
    $("previous").disabled = page === 0;
    $("next").disabled = page >= pages - 1;

    const head = element("tr", {}, ["Question", ...columns.map((column) => modelName(keys[column]))].map((name, index) => {
      const cell = element("th", { textContent: name, scope: "col" });
      cell.setAttribute("role", "columnheader");
      const model = index ? models.get(keys[columns[index - 1]]) : undefined;
      if (model) cell.style.color = `var(--${data.arms[model.arm].colour})`;
      return cell;
    }));
    head.setAttribute("role", "row");
    const body = element("tbody", {}, visible.map((row) => {
      const label = element("th", { scope: "row" }, [
        element("span", { className: "id", textContent: data.questions[row.question] }),
        element("span", { dir: "auto" }, marked(row.prompt, wanted)),
        element("span", { className: "chips" }, [chip(data.conditions[row.condition], ""), chip("sample " + row.sample, "")]),
      ]);
      label.setAttribute("role", "rowheader");
      const line = element("tr", {}, [label, ...columns.map((column) => answerCell(row, keys[column], column, wanted))]);
      line.setAttribute("role", "row");
      return line;
    }));
    body.setAttribute("role", "rowgroup");
    const header = element("thead", {}, [head]);
    header.setAttribute("role", "rowgroup");
    const table = element("table", {}, [header, body]);
    table.setAttribute("role", "table");
    table.setAttribute("aria-label", "Transcripts");
    $("rows").replaceChildren(table);
  };

  const restart = () => { page = 0; opened = true; show(); };
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const event of ["input", "change"]) $("filters").addEventListener(event, restart);
  const turn = (step) => { page += step; opened = true; show(); $("count").scrollIntoView({ block: "start" }); };
  // A question in a table above opens its answers here.
  for (const link of document.querySelectorAll("a[data-question]")) {
    link.addEventListener("click", () => {
      const index = data.questions.indexOf(link.dataset.question);
      for (const id of ["find", "column", "condition", "verdict"]) $(id).value = "";
      $("question").value = String(index);
      restart();
    });
  }
  $("more").addEventListener("click", () => {
    opened = true;
    show();
    $("rows").querySelectorAll("tbody tr")[FEW].scrollIntoView({ block: "nearest" });
    $("count").tabIndex = -1;
    $("count").focus({ preventScroll: true }); // the button is gone
  });
  $("previous").addEventListener("click", () => turn(-1));
  $("next").addEventListener("click", () => turn(1));
  show();
})();
