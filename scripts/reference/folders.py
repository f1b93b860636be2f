"""Files that lichen writes, by the folder they are in, and what each of them is."""

from __future__ import annotations

RUN_FOLDER = {
    "config.yaml": "All settings of the run. It can be given to `--config`.",
    "log.jsonl": "One JSON object a line while training: `time`, `phase`, `images_seen`, `loss`, `learning_rate`, "
    "`gradient_norm`. Of phase `probe`: `n` samples compared, `above` and `share` of them nearer than new patients, "
    "`mean_score`, `p_value`, `rises` (0 or 1), and with `--probe.quality` the kernel `distance` to held-out images, "
    "`distance_error` (standard error), `distance_real_high` (upper end of that of training images). "
    "Of phase `stop`: `kept_images_seen`, where a probe ended training. "
    "Of phase `segmenter`: `loss`, `validation_dice`, and `spent_j`, the joules of the training by then.",
    "energy-<host>-<rank>.jsonl": "What the meters said, one JSON object a line. Each process appends to its own file.",
    "forecasts.jsonl": "What the work was expected to take, one JSON object a line, from probes before it began.",
    "checkpoints/autoencoder.state.safetensors": "State of the autoencoder's training, to resume from.",
    "checkpoints/diffusion.state.safetensors": "State of the denoiser's training, to resume from.",
    "checkpoints/gan.state.safetensors": "State of the training of a StyleGAN2, to resume from.",
    "checkpoints/generator.safetensors": "Finished generator: averaged weights, architecture, latent scale, tuning.",
    "checkpoints/segmenter.state.safetensors": "State of a segmenter's training, to go on from, and its best weights.",
    "checkpoints/segmenter.safetensors": "After `lichen segment`: the best weights, architecture and classes.",
    "checkpoints/images.sha256": "Hash of the training images; a run is not resumed with others.",
    "samples/sample-<index>.png": "A synthetic picture of one channel (16-bit gray) or three (8-bit colour).",
    "samples/sample-<index>.nii.gz": "A synthetic volume, or a picture with another number of channels; float32 from "
    "0 to 1, or in the intensities of `images.window`.",
    "samples/sample-<index>.json": "The sidecar of a synthetic image; see below.",
    "audit/audit.json": "The verdict and one finding per synthetic image. Real patients and images have pseudonyms.",
    "audit/PRIVATE-names.json": "**Whom the pseudonyms stand for**, and their key, made once per folder. Readable by "
    "its owner only; keep it as private as the images.",
    "quality/quality.json": "After `lichen quality --run`: figures of the samples beside those between real images.",
    "quality/quality.html": "The same for people. It can be shared.",
    "summary.json": "Results of every step. It holds the command as typed, so folder names too, and the names of "
    "images only if `--images.skip-bad` left some out.",
    "report.html": "The page for people. Copies are listed with the pseudonyms of their nearest training images.",
    "cards/model-card.md": "After `lichen card`: metadata for a Hugging Face model card; its `emissions` are in grams.",
    "cards/emissions.csv": "The same with the columns of codecarbon: `emissions` in kilograms, energies in kWh with "
    "the building's overhead, `duration` in seconds. What is not known is empty.",
    "cards/sci.json": "The Software Carbon Intensity of a released image (ISO/IEC 21031) and its terms.",
    "cards/methods.txt": "A paragraph for a paper, and the references it names.",
    ".lock": "Keeps two processes out of one folder. Empty.",
}

RELEASE = {
    "images/": "The images that passed, under their names, with the sidecars that lichen wrote.",
    "data-card.json": "What was released, audited, tested and not tested, and what it cost. No name of any image.",
    "data-card.html": "The same for people.",
    "SHA256SUMS": "The sum of every other file, for `sha256sum -c`. Its own SHA-256 names the set.",
}

STUDY = {
    "report.html": "Charts, a verdict on each statement, and all outcomes with intervals. No image and no name.",
    "study.md": "The same in Markdown, with the charts beside it.",
    "figures/<plot>.svg": "A chart as a file of its own.",
    "results.csv": "A row for each cell: table, levels, seed, state, outcomes.",
    "study.json": "Everything for other programs; `details` hold distributions, sorted, so that no value is anybody's.",
    "definition.yaml": "The study as it was asked for.",
    "plan.json": "What each kind of run was expected to take.",
    "runs/<cell>/": "The run folder of a cell, with its images: not to be shared. Of forecasts `forecast.json` alone.",
    "settings/<cell>.yaml": "All settings of a cell, with the folder of its images.",
    "outcomes/<cell>.json": "Its outcomes in full, kept because they take a while.",
    "logs/<cell>.txt": "What its process said.",
}

SEARCH_FOLDER = {
    "report.html": "What to take and what it costs: charts, the front, every configuration. No image and no name.",
    "search.md": "The same in Markdown, with tables to paste and the charts beside it.",
    "figures/quality-against-cost.svg": "Configurations, the Pareto front, and what was refused or stopped.",
    "figures/cut-at-budget.svg": "Quality at a budget for each candidate, beside that of training until done.",
    "figures/learning.svg": "Quality over what was spent on training.",
    "results.csv": "A row for each candidate: settings, seed, state, quality, joules, grams, reason.",
    "search.json": "Everything for other programs; see below.",
    "candidates.json": "Each candidate as it is known, with curve and forecasts from before: to replay a search.",
    "definition.yaml": "The search as it was asked for.",
    "decisions.jsonl": "What was refused or stopped, one JSON object a line: when, why, and under which limits.",
    "forecasts/<plan>.json": "What a kind of candidate was expected to take, from a probe.",
    "energy-<host>-<process>.jsonl": "The energy of these probes.",
    "runs/<candidate>/": "The run folder of a candidate, with its images if it makes any: not to be shared.",
    "cuts/<candidate>.json": "What it could do when its budget was spent, where it went on.",
    "settings/<candidate>.yaml": "All settings of a candidate, with the folder of its images.",
    "logs/<candidate>.txt": "What its process said.",
    "optuna.journal": "After `--method optuna`: Optuna's journal of trials.",
}
