// The "What if?" panel: what this run would have cost elsewhere, at another time, with other numbers.
//
// The arithmetic is that of lichen.carbon (intensity.py, emissions.py, whatif.py), operation for operation, so that both
// give the same figures to the last bit; the words are those of lichen.report.formats. tests/test_browser.py compares
// them. A range is [low, estimate or null, high]. Text goes into the page as text only, never as markup.
"use strict";
(() => {
  const element = (name) => document.getElementById(`whatif-${name}`);
  const data = JSON.parse(element("data").textContent);
  const run = data.run;
  const zones = { ...data.countries, ...data.states };
  const [place, month, pue, images, steps] = ["place", "month", "pue", "images", "steps"].map(element);
  const months = Array.from(month.options, (option) => option.text);
  const J_PER_KWH = 3.6e6;
  const WATT_HOURS = [["Wh", 3.6e3], ["kWh", 3.6e6], ["MWh", 3.6e9]]; // prettier-ignore
  const GRAMS = [["µg", 1e-6], ["mg", 1e-3], ["g", 1], ["kg", 1e3], ["t", 1e6]]; // prettier-ignore

  // ---- figures

  const each = (range, change) => range.map((end) => (end === null ? null : change(end)));
  const both = (one, other, join) =>
    one.map((end, i) => (end === null || other[i] === null ? null : join(end, other[i])));
  const times = (range, factor) => each(range, (end) => end * factor);
  const over = (range, parts) => each(range, (end) => end / parts);
  const plus = (one, other) => both(one, other, (x, y) => x + y);
  const product = (one, other) => both(one, other, (x, y) => x * y);
  const best = (range) => (range[1] === null ? range[2] : range[1]);

  /** The intensity of a zone in a month; without a zone that of the run, which then is a figure of its own. */
  function intensity(code, number) {
    if (!zones[code]) return { ...run, g: run.g_per_kwh };
    const [name, year, level, season] = zones[code];
    const where = { name, year, month: number, note: "", data: data.data };
    if (number === null) return { ...where, g: level };
    if (season) return { ...where, g: product(level, season[number - 1]) };
    const [low, high] = data.typical_season;
    const note = `no monthly figures for ${name}: the yearly level, widened by other countries' seasons`;
    return { ...where, note, g: [level[0] * low, level[1], level[2] * high] };
  }

  function buildingKwh(joules, overhead) {
    const ends = overhead === null ? [data.pue_range[0], 1, data.pue_range[1]] : [overhead, overhead, overhead];
    return product(over(joules, J_PER_KWH), ends);
  }

  const wholeBatches = (count) => Math.ceil(count / run.batch) * run.batch;

  function synthesis(plan) {
    if (!run.images) return plus(plus(run.compile_j, run.denoise_j), run.decode_j);
    const calls = run.calls_at_no_step + run.calls_per_step * plan.steps;
    const drawn = wholeBatches(plan.images);
    const before = wholeBatches(run.images);
    const denoise = times(run.denoise_j, ((drawn / before) * calls) / run.calls);
    return plus(plus(run.compile_j, denoise), times(run.decode_j, drawn / before));
  }

  function whatIf(plan, where) {
    const made = synthesis(plan);
    const joules = plus(plus(run.training_j, made), run.rest_j);
    const kwh = buildingKwh(joules, plan.pue);
    const one = run.images ? plus(over(made, plan.images), over(run.training_j, plan.images)) : null;
    const share = one && product(buildingKwh(one, plan.pue), where.g);
    return { where, joules, kwh, grams: product(kwh, where.g), share };
  }

  const least = (outcomes) => outcomes.reduce((a, b) => (best(b.grams) < best(a.grams) ? b : a));
  const most = (outcomes) => outcomes.reduce((a, b) => (best(b.grams) > best(a.grams) ? b : a));

  // ---- words

  function figure(value, significant = 3) {
    if (value === 0) return "0";
    const rounded = value.toExponential(significant - 1);
    const decimals = significant - 1 - Number(rounded.split("e")[1]);
    const [whole, part] = Number(rounded).toFixed(Math.min(Math.max(decimals, 0), 12)).split(".");
    return whole.replace(/\B(?=(\d{3})+$)/g, ",") + (part ? `.${part}` : "");
  }

  function spanParts(range, units) {
    const [symbol, size] = units.filter((unit) => best(range) >= unit[1]).pop() || units[0];
    const ends = `${figure(range[0] / size, 2)}–${figure(range[2] / size, 2)}`;
    if (range[1] === null) return [`${ends} ${symbol}`, ""];
    return [`${figure(range[1] / size)} ${symbol}`, range[0] === range[2] ? "" : ends];
  }

  // a figure and its unit stay on one line
  const unbroken = (range, units) => spanParts(range, units)[0].replaceAll(" ", "\u00a0");

  function whereAndWhen(where) {
    const when = where.month && !where.note ? ` in ${months[where.month]}` : "";
    return `${where.name}${when}${where.year ? ` (${when ? "level" : "figures"} of ${where.year})` : ""}`;
  }

  /** [how many times the run, from where to where]. */
  function comparison(asked, asRun) {
    const [here, there] = [whereAndWhen(asked.where), whereAndWhen(asRun.where)];
    const isSamePlace = here === there && asked.where.data === asRun.where.data;
    let [one, other] = [asked.grams[1], asRun.grams[1]];
    // a place that both share cancels out, known or not
    if (isSamePlace && other === null) [one, other] = [asked.kwh[1], asRun.kwh[1]];
    if (one === null || other === null) {
      const why = asRun.where.g[1] === null ? "its place is unknown" : "its energy is known as a range only";
      return [`Nobody can say how many times this run that is: ${why}.`, ""];
    }
    if (other === 0) return ["There is no ratio to this run: it used nothing.", ""];
    const ratio = `${figure(one / other)} times this run`;
    if (isSamePlace) return [`${ratio},`, ` at the same place: ${here}. Data: ${asked.where.data}.`];
    if (asked.where.data === asRun.where.data) {
      return [`${ratio}:`, ` ${here} against ${there}. Data: ${asRun.where.data}.`];
    }
    return [`${ratio}:`, ` ${here} against ${there}. Data: ${asked.where.data}; against ${asRun.where.data}.`];
  }

  function cheapest(plan, code) {
    const countries = Object.keys(data.countries).map((key) => whatIf(plan, intensity(key, plan.month)));
    const country = least(countries);
    const words =
      `Least in all ${countries.length} countries: ` +
      `${whereAndWhen(country.where)}, ${unbroken(country.grams, GRAMS)}.`;
    if (!zones[code]) return words;
    const [name, , , season] = zones[code];
    if (!season) return `${words} No monthly figures are known for ${name}.`;
    const year = season.map((_, i) => whatIf(plan, intensity(code, i + 1)));
    const [low, high] = [least(year), most(year)].map(
      ({ where, grams }) => `${months[where.month]}, ${unbroken(grams, GRAMS)}`,
    );
    return `${words} Cheapest month in ${name}: ${low}; dearest: ${high}.`;
  }

  // ---- the page

  function show(name, range, units) {
    const [middle, ends] = range ? spanParts(range, units) : ["–", ""];
    element(name).textContent = middle;
    element(name).value = range ? range.map(String).join(" ") : ""; // unrounded, for programs
    element(`${name}-ends`).textContent = ends && `range ${ends}`;
  }

  /** What an input says; `leftOut` where it is empty or not in the page, NaN where it is impossible. */
  function read(input, leftOut) {
    if (input === null) return leftOut;
    const isWrong = !input.validity.valid;
    input.setAttribute("aria-invalid", String(isWrong));
    return isWrong ? NaN : input.value === "" ? leftOut : input.valueAsNumber;
  }

  function update() {
    const code = place.value || run.zone;
    month.disabled = !zones[code]; // an unknown place and a figure of the run's own have no seasons
    if (month.disabled) month.value = run.month || "";
    const was = { month: run.month, pue: run.pue, images: run.images, steps: run.steps };
    const plan = {
      month: Number(month.value) || null,
      pue: read(pue, null),
      images: read(images, run.images),
      steps: read(steps, run.steps),
    };
    const isPossible = !Object.values(plan).some(Number.isNaN);
    const isAsRun = code === run.zone && Object.keys(was).every((key) => plan[key] === was[key]);
    const where = intensity(code, plan.month);
    const asked = isPossible ? whatIf(plan, where) : null;
    element("panel").classList.toggle("changed", isPossible && !isAsRun);
    show("energy", asked && asked.joules, WATT_HOURS);
    show("grams", asked && asked.grams, GRAMS);
    if (run.images) show("share", asked && asked.share, GRAMS);
    if (!asked) {
      element("ratio").textContent =
        run.steps === null
          ? "A PUE is 1 or more; at least 1 image is drawn; images are whole numbers."
          : "A PUE is 1 or more; at least 1 image is drawn, in at least 2 steps; images and steps are whole numbers.";
      for (const name of ["against", "cheapest", "note"]) element(name).textContent = "";
      return;
    }
    const asRun = whatIf(was, intensity(run.zone, run.month));
    const [ratio, against] = isAsRun ? ["This is the run as it was.", ""] : comparison(asked, asRun);
    element("ratio").textContent = ratio;
    element("against").textContent = against;
    element("cheapest").textContent = cheapest(plan, code);
    const overhead = plan.pue === null ? data.pue_range.join("–") : String(plan.pue);
    const noun = plan.images === 1 ? "image" : "images";
    const ofSteps = run.steps === null ? "" : ` of ${plan.steps} steps`;
    const drawn = run.images ? `, ${plan.images.toLocaleString("en")} ${noun}${ofSteps}` : "";
    const note = where.note && ` (${where.note})`;
    const [level, ends] = spanParts(where.g, [["g/kWh", 1]]);
    element("note").textContent =
      `${whereAndWhen(where)}: ${level}${ends && ` (${ends})`}${note}, PUE ${overhead}${drawn}.`;
  }

  function options(label, entries) {
    const group = document.createElement("optgroup");
    group.label = label;
    const named = Object.entries(entries).sort((a, b) => a[1][0].localeCompare(b[1][0], "en"));
    group.append(...named.map(([code, [name]]) => new Option(name, code)));
    return group;
  }

  place.append(new Option(`As in this run: ${run.label}`, ""));
  place.append(options("Countries", data.countries), options("US states", data.states));
  const fields = [place, month, pue, images, steps].filter(Boolean);
  for (const field of fields) field.addEventListener("input", update);
  element("reset").addEventListener("click", () => {
    place.value = "";
    month.value = run.month || "";
    for (const input of [pue, images, steps].filter(Boolean)) input.value = input.defaultValue;
    update();
  });
  update();
  element("panel").hidden = false;
})();
