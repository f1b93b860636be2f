"""Fields of the JSON files that lichen writes, and what each of them says."""

from __future__ import annotations

SEARCH = {
    "lichen": "Version that wrote the file.",
    "layout": "1: the layout of this file.",
    "title": "Of the search's file.",
    "task": "`segmentation` or `generation`.",
    "quality": "`dice` or `kernel_distance`.",
    "better": "`higher` or `lower`: which qualities are.",
    "space": "The settings that are varied.",
    "seeds": "With which each configuration is trained.",
    "planned_images": "Synthetic images whose cost counts beside training.",
    "beta": "Of the scalar objective loss + beta * kg CO2e.",
    "limits": "Of a candidate (`candidate_j`, `peak_memory_bytes`, `copy_rate`) and of the search (`search_j`); "
    "null: none.",
    "zone": "Place of the electricity; null: unknown, and grams are ranges.",
    "month": "Of the electricity; null: the year.",
    "year": "Of the intensity's level.",
    "g_per_kwh": "Intensity with `low`, `estimate`, `high`.",
    "pue": "Power usage effectiveness; null: from 1 to 1.58.",
    "attribution": "To be printed with the grams.",
    "choice": "What to `take` and the `best` figure, by number of configuration; `alike`: not shown to be worse "
    "than the best; `difference` of quality; `is_judged`: false where no interval says what is chance. null: "
    "nothing to choose.",
    "in_budget": "The same within `limits.candidate_j`; `cut`: as it was when the budget was spent. null: no "
    "budget, or nothing fits.",
    "nearly": "The cheapest configuration that reaches 99 % and 95 % of the best `quality` (101 % and 105 % of a "
    "distance).",
    "front": "The Pareto front by number of configuration, the cheapest first.",
    "steps": "From each of the front to the next: `gain` of quality (share) with its `difference`, extra joules and "
    "grams, and what the next 1 % of quality costs; null: the front ends before.",
    "ends": "The cheapest and the best of the front: `cost_ratio`, `gain`, `difference`.",
    "search_j": "What the search used.",
    "unread_traces": "Energy traces that are damaged: what they held is missing.",
    "search_g": "The same in grams of CO2e.",
    "everything_j": "What training all candidates until done would use: measured where finished, forecast elsewhere.",
    "saved_j": "What the search saved of that; below 0 where it used more.",
    "saved_g": "The same in grams.",
    "saved_share": "The same as a share of everything.",
    "forecast": "How many candidates stand in `everything_j` by forecast.",
    "unknown": "How many are not in it, because nothing is known of them.",
    "rank_correlations": "Spearman's, of `parameters`, `operations` and `time` with the joules of training, over "
    "configurations.",
    "configurations": "Each with `settings`, its `candidates`, how many are `trained`, `quality` (over seeds), "
    "`cost_j`, `cost_over_seeds_j`, `cost_g`, `expected_j` (with forecasts), `cut_quality` and `cut_cost_j`, "
    "`objective`, `pepr`, and `why_not`: why it can be on no front.",
    "candidates": "Each as it is known: settings, seed, state, joules, `curve` of (joules, quality), figures, reason.",
    "provenance": "Python, platform and time.",
}

SIDECAR = {
    "synthetic": "Always `true`. The image file itself says it as well.",
    "checkpoint_sha256": "SHA-256 of the generator that made the image: of weights and description, not of its file.",
    "sampler": "Name of the sampler. Of a StyleGAN2 there is `truncation` in place of it, schedule, steps and compile.",
    "schedule": "Name of the schedule of noise levels.",
    "steps": "Noise levels visited.",
    "batch_size": "Images drawn together.",
    "compile": "Whether the denoiser was compiled.",
    "seed": "Seed of the whole set.",
    "index": "Number of the image in the set.",
    "affine": "4 x 4: voxel index to millimetres.",
}

AUDIT = {
    "lichen": "Version that wrote the file.",
    "layout": "2: the layout of this file.",
    "verdict": "`clean`, `copies` or `inconclusive`.",
    "exit_code": "0, 1 or 3.",
    "counts": "Images and patients compared, repeated training images, images that could not be compared, and by set "
    "those `skipped` because they cannot be used.",
    "resolution": "`patients` held out, `smallest_p` possible, `detectable_share` of copies, `patients_needed` more.",
    "set_p_value": "How often a set of as many images without a copy looks as much like one with copies.",
    "images": "One finding per synthetic image: `file`, `score` and `score_name`, `scores` (all of them), `p_value`, "
    "`flagged`, `identical`, `nearest` and `nearest_image` (pseudonyms of a training patient and image), `transform` "
    "from that image to this one, and in a run folder the file's `sha256`.",
    "copies": "File names of the flagged images.",
    "copy_rate": "Share of copies, `estimate` between `low` and `high`, `of` so many synthetic images; null if not "
    "estimated.",
    "memorised_patients": "Share of training patients of whom there is a copy, `of` so many patients, found `by` so "
    "many synthetic images; null if not estimated.",
    "self_test": "By transformation: `words` for it, `power` over `n` planted copies, `false_positive_rate` over "
    "`n_new` images of new patients; null if nothing was planted.",
    "calibration": "The `level` of the self-test, and by score the similarity of each held-out patient, sorted and "
    "without names.",
    "duplicates": "What the checks of the real images found: `repeated_images`, pairs of images `within_training` and "
    "`with_held_out` that are one image, `left_out_patients`, patients with `many_images`.",
    "competition": "Against a withheld set: `wins` of each image, `threshold`, number `flagged`, `least_discoveries`; "
    "null without one.",
    "membership": "What the model's loss says of who is a training patient; null if no model was given.",
    "classics": "What the rules of earlier papers say; null if not computed.",
    "label_maps": "How many label maps equal a training patient's, or are nearer to it than new patients'; null: none.",
    "settings": "The settings of the audit.",
    "inputs": "SHA-256 of what was compared.",
    "reviewed": "What people said of the pairs (`--reviewed`), and how the flags agree; null: no marks were given.",
    "not_tested": "What the audit cannot see, one sentence each.",
}

QUALITY = {
    "lichen": "Version that wrote the file.",
    "layout": "1: the layout of this file.",
    "counts": "Images, and patients of the real ones, in each set; by set those `skipped` as they cannot be used.",
    "grid": "Channels and voxels on which images were compared.",
    "real_from": "Which real images are compared with the reference as the yardstick.",
    "nearest_neighbours": "How many make a neighbourhood, for precision, recall, density and coverage.",
    "figures": "Each with `name`, `extractor`, and `value`, `low`, `high`, `images` and `reference_images` of the "
    "`synthetic` images, of `real` ones, and of as many synthetic ones as there (`matched`); `finding`: `as real`, "
    "`worse`, `better` or `unknown`. null where sets are too small.",
    "extractors": "By name of the features, what they are and what is done to an image first.",
    "not_seen": "What no figure sees, one sentence each.",
    "task": "With `--task`: `train_images` that each segmenter learned from, `test_patients`, `parameters`, the Dice "
    "of what learned from `synthetic` and `real` images, and their `difference` paired by patient. null without.",
    "inputs": "SHA-256 of what was compared.",
}
