// What a figure can do: say what a mark is, on pointing or pressing, and be copied as values or as a picture.
// Without this script browsers show the marks' titles themselves, and the table of values stands below each figure.
"use strict";
// On paper nothing can be opened: what is folded is printed open. A run's page and an audit's leave it out, to be two pages.
if (!document.body.matches(".report, .audit")) {
  addEventListener("beforeprint", () => {
    for (const node of document.querySelectorAll("details:not([open])")) { node.open = true; node.dataset.folded = ""; }
  });
  addEventListener("afterprint", () => {
    for (const node of document.querySelectorAll("details[data-folded]")) { node.open = false; delete node.dataset.folded; }
  });
}
(() => {
  const NEAR = 24; // CSS pixels around a mark in which pointing counts
  const make = (tag, properties = {}, children = []) => {
    const node = document.createElement(tag);
    Object.assign(node, properties);
    node.append(...children);
    return node;
  };
  const box = make("div", { className: "tip", hidden: true });
  document.body.append(box);
  let pinned = false;

  const words = new WeakMap();
  for (const title of document.querySelectorAll(".mark > title")) {
    words.set(title.parentNode, title.textContent);
    title.remove(); // or the browser would show it a second time
  }
  const hide = () => { box.hidden = true; pinned = false; lit(null); };
  let shown = null;
  const lit = (mark) => {
    if (shown) shown.classList.remove("lit");
    shown = mark;
    if (mark) mark.classList.add("lit");
  };
  const say = (mark, x, y) => {
    box.textContent = words.get(mark);
    box.hidden = false;
    const room = document.documentElement.clientWidth;
    box.style.left = Math.max(8, Math.min(x + 12, room - box.offsetWidth - 8)) + scrollX + "px";
    box.style.top = (y > box.offsetHeight + 24 ? y - box.offsetHeight - 12 : y + 18) + scrollY + "px";
    lit(mark);
  };
  // The mark under the pointer, else the nearest small one: marks are a few pixels wide.
  const nearest = (svg, x, y, target) => {
    const own = target.closest(".mark");
    if (own) return own;
    let best = null;
    let least = NEAR;
    for (const mark of svg.querySelectorAll(".mark")) {
      const r = mark.getBoundingClientRect();
      if (r.width > 40 && r.height > 40) continue; // a line across the figure has to be met itself
      const away = Math.hypot(Math.max(r.left - x, 0, x - r.right), Math.max(r.top - y, 0, y - r.bottom));
      if (away < least) [best, least] = [mark, away];
    }
    return best;
  };
  for (const svg of document.querySelectorAll(".figure svg")) {
    const of = (event) => nearest(svg, event.clientX, event.clientY, event.target);
    svg.addEventListener("pointermove", (event) => {
      if (pinned || event.pointerType === "touch") return;
      const mark = of(event);
      if (mark) say(mark, event.clientX, event.clientY);
      else hide();
    });
    svg.addEventListener("pointerleave", () => { if (!pinned) hide(); });
    svg.addEventListener("click", (event) => {
      const mark = of(event);
      if (!mark || (pinned && mark === shown)) { hide(); return; }
      say(mark, event.clientX, event.clientY);
      pinned = true;
      const row = mark.dataset.row && document.getElementById(mark.dataset.row);
      if (row) open(row, mark);
    });
  }
  // A pressed question offers the way to its row, in whatever is folded around it.
  const open = (row) => {
    const go = make("button", { type: "button", textContent: "Its answers" });
    go.addEventListener("click", () => {
      hide();
      for (let node = row; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
      row.tabIndex = -1;
      row.focus({ preventScroll: true });
      row.scrollIntoView({ block: "center" });
    });
    box.append(" ", go);
  };
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("pointerdown", (event) => { if (!event.target.closest(".tip, .figure svg")) hide(); });

  // A table can be scrolled with the keyboard where it goes on beyond its edge, and is no stop where it does not.
  const stops = () => {
    for (const node of document.querySelectorAll(".scroll")) {
      if (node.scrollWidth > node.clientWidth + 1) node.tabIndex = 0;
      else node.removeAttribute("tabindex");
    }
  };
  addEventListener("resize", stops);
  addEventListener("toggle", stops, true);
  stops();

  const csv = (table) => [...table.rows].map((row) => [...row.cells].map((cell) => {
    const text = cell.textContent.trim();
    const plain = /^\u2212?[\d.]/.test(text) ? text.replaceAll("\u2212", "-") : text;
    return /[",\n]/.test(plain) ? `"${plain.replace(/"/g, '""')}"` : plain;
  }).join(",")).join("\n") + "\n";

  const save = (blob, name) => {
    const link = make("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  const copy = async (blob, name) => {
    try {
      await navigator.clipboard.write([new ClipboardItem({ [blob.type]: blob })]);
      return "Copied";
    } catch {
      save(blob, name);
      return "Saved";
    }
  };
  // The drawing as it looks now, dark or light, at twice its size.
  const picture = (svg) => new Promise((done, failed) => {
    const clone = svg.cloneNode(true);
    const look = getComputedStyle(document.documentElement);
    const { width, height } = svg.viewBox.baseVal;
    clone.setAttribute("xmlns", clone.namespaceURI);
    clone.setAttribute("width", width * 2);
    clone.setAttribute("height", height * 2);
    const text = new XMLSerializer().serializeToString(clone).replace(/var\((--[\w-]+)\)/g, (_, name) => look.getPropertyValue(name).trim());
    const image = new Image();
    image.onload = () => {
      const canvas = make("canvas", { width: width * 2, height: height * 2 });
      const pen = canvas.getContext("2d");
      pen.fillStyle = look.getPropertyValue("--paper").trim();
      pen.fillRect(0, 0, canvas.width, canvas.height);
      pen.drawImage(image, 0, 0);
      canvas.toBlob(done, "image/png");
    };
    image.onerror = failed;
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(text);
  });
  // `of`: what it copies from, which its name says: a page has many such buttons.
  const button = (label, title, of, act) => {
    const node = make("button", { type: "button", title });
    const name = (text) => { node.textContent = text; node.ariaLabel = `${text}: ${of}`; };
    name(label);
    node.addEventListener("click", async () => {
      name(await act());
      setTimeout(() => name(label), 2500);
    });
    return node;
  };
  for (const figure of document.querySelectorAll("figure.figure")) {
    const name = figure.id.replace(/^figure-/, "");
    const table = figure.querySelector(".values table");
    const title = figure.dataset.title;
    const tools = make("div", { className: "tools" });
    if (table) tools.append(button("Copy values", "as CSV", title, () => copy(new Blob([csv(table)], { type: "text/plain" }), name + ".csv")));
    const drawn = () => [...figure.querySelectorAll("svg")].find((svg) => svg.getClientRects().length);
    tools.append(button("Copy picture", "as PNG", title, async () => copy(await picture(drawn()), name + ".png")));
    figure.append(tools);
  }
  for (const text of document.querySelectorAll("pre.verbatim")) {
    text.after(make("div", { className: "tools" }, [button("Copy", "as text", text.ariaLabel, () => copy(new Blob([text.textContent], { type: "text/plain" }), "copied.txt"))]));
  }
})();
