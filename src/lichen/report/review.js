// The review page: which pair is seen and how, and what the reader marks. Text goes into the page as text only, never as
// markup. tests/test_report_review.py sees it at work.
"use strict";
(() => {
  const BLINK_MS = 700; // less than three flashes a second (WCAG 2.3.1)
  const KEPT_PAIRS = 3;
  const MARKS = { copy: ["copy", "✓"], "not-a-copy": ["not a copy", "✕"], unsure: ["unsure", "?"] };
  const MARK_KEYS = { c: "copy", x: "not-a-copy", u: "unsure" };
  const VIEW_KEYS = { 1: "side", 2: "aligned", 3: "difference", 5: "niivue" };
  const LEGENDS = {
    side: "Both as they are.",
    aligned: "The synthetic image is moved onto the training image. Hatched: outside the synthetic image.",
    difference:
      "The aligned synthetic image less the training image, at twice the contrast. Black: equal; orange: the synthetic " +
      "image is brighter; blue: the training image is. Of a label map: another class, of a higher or lower number.",
    blink: "The two change places, one lying over the other: what moves or flashes differs. Space changes by hand.",
    niivue: "The training volume in grey, the aligned synthetic one over it in colour.",
  };

  const element = (id) => document.getElementById(id);
  const data = JSON.parse(element("review-data").textContent);
  const { pairs } = data;
  const size = data.shape.reduce((x, y) => x * y, 1);
  const key = `lichen-review:${data.audit_sha256}`;
  const choice = element("channel");
  const hasAll = choice && choice.value === "all"; // and no colour
  const panes = new Views.Panes(element("panes"), data.shape, data.spacing, hasAll ? data.shape[0] : 1, data.colours);
  const isVolume = data.shape.length === 4;
  const niivue = element("niivue") && new Niivue.Viewer(element("niivue-canvas"), data.shape.slice(1), data.spacing);
  const marks = new Map(); // number of the pair -> {mark, note}
  const unpacked = new Map(); // number of the pair -> promise of its three images
  let [at, view, isTraining, timer, images, isKept] = [0, "side", false, null, null, true];

  // ---- marks

  function restore() {
    try {
      const kept = JSON.parse(localStorage.getItem(key) || "{}");
      element("reviewer").value = typeof kept.reviewer === "string" ? kept.reviewer : "";
      for (const { number, mark, note } of kept.marks || []) {
        if (pairs.some((pair) => pair.number === number) && (mark in MARKS || mark === null)) {
          marks.set(number, { mark, note: String(note || "") });
        }
      }
    } catch {
      isKept = false;
    }
  }

  function keep() {
    const all = [...marks].map(([number, entry]) => ({ number, ...entry }));
    try {
      localStorage.setItem(key, JSON.stringify({ reviewer: element("reviewer").value, marks: all }));
    } catch {
      isKept = false;
    }
    element("unkept").hidden = isKept;
  }

  const entryOf = (pair) => marks.get(pair.number) || { mark: null, note: "" };

  function setMark(mark) {
    const pair = pairs[at];
    const entry = entryOf(pair);
    marks.set(pair.number, { ...entry, mark: entry.mark === mark ? null : mark });
    keep();
    showMarks();
    const now = entryOf(pair).mark;
    element("said").textContent = `Pair ${pair.number}: ${now ? `marked ${MARKS[now][0]}` : "mark taken back"}`;
  }

  function showMarks() {
    const counts = { copy: 0, "not-a-copy": 0, unsure: 0 };
    pairs.forEach((pair, i) => {
      const { mark } = entryOf(pair);
      if (mark) counts[mark] += 1;
      const button = element("list").children[i].firstChild;
      button.dataset.mark = mark || "";
      button.lastChild.textContent = mark ? MARKS[mark][1] : "";
      button.lastChild.setAttribute("aria-label", mark ? MARKS[mark][0] : "not marked");
    });
    const done = counts.copy + counts["not-a-copy"] + counts.unsure;
    [element("progress").max, element("progress").value] = [Math.max(pairs.length, 1), done];
    element("progress-words").textContent =
      `${done} of ${pairs.length} marked` +
      (done ? `: ${Object.entries(counts).map(([mark, n]) => `${n} ${MARKS[mark][0]}`).join(", ")}` : ""); // prettier-ignore
    for (const button of document.querySelectorAll(".marks button")) {
      button.setAttribute("aria-pressed", String(entryOf(pairs[at]).mark === button.dataset.mark));
    }
  }

  function exported() {
    const reviewer = element("reviewer").value.trim();
    const marked = pairs.filter((pair) => entryOf(pair).mark);
    return {
      layout: data.layout,
      audit_sha256: data.audit_sha256,
      ...(reviewer ? { reviewer } : {}),
      marks: marked.map((pair) => {
        const { mark, note } = entryOf(pair);
        return { number: pair.number, file: pair.file, mark, ...(note.trim() ? { note: note.trim() } : {}) };
      }),
    };
  }

  function download() {
    const text = `${JSON.stringify(exported(), null, 2)}\n`;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = `review-marks-${data.audit_sha256.slice(0, 12)}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    element("said").textContent = `Exported ${exported().marks.length} marks`;
  }

  // ---- the pair

  function imagesOf(pair) {
    const { number } = pair;
    const found =
      unpacked.get(number) || Pixels.unpack(element(`pixels-${number}`).textContent, size, 3);
    unpacked.delete(number);
    unpacked.set(number, found); // the latest last
    for (const old of [...unpacked.keys()].slice(0, -KEPT_PAIRS)) unpacked.delete(old);
    return found;
  }

  async function go(to) {
    at = Math.min(Math.max(to, 0), pairs.length - 1);
    const pair = pairs[at];
    Array.from(element("list").children, (item, i) => {
      const button = item.firstChild;
      button.tabIndex = i === at ? 0 : -1;
      if (i === at) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    });
    const current = element("list").children[at];
    const list = element("list");
    list.scrollTo({
      top: current.offsetTop - list.offsetTop - list.clientHeight / 2,
      left: current.offsetLeft - list.offsetLeft - list.clientWidth / 2,
    });
    element("pair-number").textContent = `Pair ${pair.number} of ${pairs.length}`;
    element("pair-file").textContent = pair.file;
    element("previous").disabled = at === 0;
    element("next").disabled = at === pairs.length - 1;
    element("note").value = entryOf(pair).note;
    showFacts(pair);
    showMarks();
    const found = await imagesOf(pair);
    if (pairs[at] !== pair) return; // the reader has gone on
    images = found;
    draw();
    if (at + 1 < pairs.length) imagesOf(pairs[at + 1]);
  }

  function showFacts(pair) {
    const flag = pair.identical ? "flagged: identical in every voxel" : pair.flagged ? "flagged" : "not flagged";
    const rows = [
      ["Audit", flag, true],
      ["p-value", pair.p_value.toPrecision(3), true],
      ...Object.entries(pair.scores).map(([name, score]) => [
        `Score ${name}`, score === null ? "not comparable" : score.toFixed(3), true,
      ]), // prettier-ignore
      ["Transformation", pair.transform, false],
      ["Training patient", pair.patient, false],
      ["Training image", pair.image, false],
    ];
    element("facts").replaceChildren();
    for (const [name, words, isOpinion] of rows) {
      const row = Views.make("div", isOpinion ? "opinion" : "", element("facts"));
      Views.make("dt", "", row).textContent = name;
      Views.make("bdi", "", Views.make("dd", "", row)).textContent = words;
    }
  }

  function draw() {
    const [synthetic, training, aligned] = images;
    const channel = choice && Number(choice.value) ? Number(choice.value) : 0; // of "all" and of colour the first
    if (view === "niivue") {
      const voxels = size / data.shape[0];
      const start = channel * voxels;
      const [grey, over] = [training, aligned].map((image) => image.subarray(start, start + voxels));
      niivue.show(grey, over, element("fade").valueAsNumber).catch((error) => {
        element("legend").textContent = `NiiVue cannot draw here: ${error.message}`; // e.g. no WebGL 2
      });
      return;
    }
    const right = { label: "Training image", image: training };
    const moved = { label: "Synthetic image, aligned", image: aligned };
    const shown = {
      side: [{ label: "Synthetic image", image: synthetic }, right],
      aligned: [moved, right],
      difference: [{ label: "Difference", image: aligned, minus: training }, right],
      blink: [isTraining ? right : moved, null],
    };
    const every = Array.from({ length: data.shape[0] }, (_, number) => [number]);
    panes.show(shown[view], { all: every, "": [[0, 1, 2]] }[choice && choice.value] || [[channel]]);
  }

  // ---- views

  function look(name) {
    if (name === "niivue" && !niivue) return;
    view = name;
    if (niivue) element("niivue").hidden = name !== "niivue";
    element("panes").hidden = name === "niivue";
    isTraining = false;
    for (const radio of document.getElementsByName("view")) radio.checked = radio.value === name;
    element("legend").textContent = LEGENDS[name];
    element("panes").dataset.view = name;
    blink(name === "blink" && !matchMedia("(prefers-reduced-motion: reduce)").matches);
    if (images) draw();
  }

  function blink(isOn) {
    clearInterval(timer);
    timer = isOn ? setInterval(change, BLINK_MS) : null;
  }

  function change() {
    isTraining = !isTraining;
    if (images) draw();
  }

  // ---- keys

  function typed(letter, event) {
    if (letter === "n") return go(at + 1);
    if (letter === "p") return go(at - 1);
    if (letter === "e") return download();
    if (letter === "h") return element("hide").click();
    if (letter === "b" && view === "blink") return blink(timer === null);
    if (letter === "b" || letter === "4") return look("blink");
    if (letter in MARK_KEYS) return setMark(MARK_KEYS[letter]);
    if (letter in VIEW_KEYS) return look(VIEW_KEYS[letter]);
    if (letter === " " && view === "blink" && !event.target.closest("button, label, summary")) {
      blink(false);
      return change();
    }
    if (isVolume && (letter === "[" || letter === "]")) return panes.move(0, 0, letter === "]" ? 1 : -1);
    return null;
  }

  function arrow(name, event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[name];
    if (!steps || event.target.closest("#views, #channel, #fade")) return null; // these have arrows of their own
    if (event.target.closest("#list")) {
      const moved = go(at + steps[0] + steps[1]);
      element("list").children[at].firstChild.focus();
      return moved;
    }
    if (isVolume) return panes.move(...steps, 0) || true;
    return steps[0] ? go(at + steps[0]) : null;
  }

  document.addEventListener("keydown", (event) => {
    const isWriting = event.target.closest("input[type=text], select");
    if (isWriting || event.ctrlKey || event.metaKey || event.altKey) return;
    const done = event.key.startsWith("Arrow") ? arrow(event.key, event) : typed(event.key.toLowerCase(), event);
    if (done !== null) event.preventDefault();
  });

  // ---- the page

  function listed(pair, i) {
    const button = Views.make("button", pair.flagged ? "flagged" : "", Views.make("li", "", element("list")));
    button.type = "button";
    Views.make("span", "number", button).textContent = pair.number;
    Views.make("bdi", "file", button).textContent = pair.file;
    Views.make("span", "tag", button).textContent = pair.flagged ? "flagged" : "";
    Views.make("span", "glyph", button).setAttribute("role", "img");
    button.addEventListener("click", () => go(i));
  }

  function start() {
    pairs.forEach(listed);
    restore();
    element("previous").addEventListener("click", () => go(at - 1));
    element("next").addEventListener("click", () => go(at + 1));
    element("export").addEventListener("click", download);
    element("hide").addEventListener("change", () => document.body.classList.toggle("blind", element("hide").checked));
    element("reviewer").addEventListener("input", keep);
    element("note").addEventListener("input", () => {
      marks.set(pairs[at].number, { ...entryOf(pairs[at]), note: element("note").value });
      keep();
    });
    if (choice) choice.addEventListener("change", draw);
    if (niivue) element("fade").addEventListener("input", () => niivue.fade(element("fade").valueAsNumber));
    for (const button of document.querySelectorAll(".marks button")) {
      button.addEventListener("click", () => setMark(button.dataset.mark));
    }
    for (const radio of document.getElementsByName("view")) radio.addEventListener("change", () => look(radio.value));
    if (isVolume) panes.choose(panes.active);
    look("side");
    keep();
    element("review").hidden = false;
    go(0);
  }

  if (pairs.length) start();
})();
