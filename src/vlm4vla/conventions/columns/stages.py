"""The columns and keys of the files that the stages write."""

from __future__ import annotations

from vlm4vla.conventions.columns.description import FileKind, below, column, key

PROVENANCE = (
    key("stage", "The stage that made the folder."),
    key("settings", "All settings of the stage. Their keys are those of config.yaml.", whole=True),
    key("inputs", "What the stage read, by name."),
    key("inputs.*", "One input."),
    key("inputs.*.path", "Path of the input's provenance.json, or of the file."),
    key("inputs.*.sha256", "SHA-256 of that file.", "hexadecimal"),
    key("seed", "Seed of the stage; null without randomness."),
    key("packages", "Versions of the packages that compute results.", whole=True),
    key("python", "Version of Python."),
    key("commit", "Git commit of the code; null outside a checkout."),
    key("started", "Start of the stage (UTC, ISO 8601)."),
    key("wall_seconds", "Time from start to end.", "s"),
    key("cpu_seconds", "CPU time of the process and its ended children until this record.", "s"),
    key("start_up_seconds", "The part of `cpu_seconds` before the work: Python's start, imports.", "s"),
    key(
        "outputs", "SHA-256 of each file of a model: weights, settings, tokenizer.", "hexadecimal", whole=True
    ),
    key("files", "SHA-256 of each file of data.", "hexadecimal", whole=True),
    key("checkpoint", "Hash that identifies the policy: its weights and settings.", "hexadecimal"),
    key("episodes", "Number of episodes of the rollout or the demonstrations.", "count"),
    key("mean_solved", "Mean number of solved instructions per episode.", "count"),
    key("source", "The dataset that was read: its files and their hashes.", whole=True),
    key("frames", "Number of frames of demonstrations.", "count"),
    key("without_instruction", "Episodes or rows without an instruction, which were left out.", whole=True),
    key("gripper", "How gripper commands of the dataset were converted.", whole=True),
    key("rare_motion", "Dimensions whose quantiles hide rare motion.", whole=True),
    key("rows", "Number of rows of a public dataset.", "count"),
    key("solved", "Number of solved episodes of a recording.", "count"),
    key("stop", "How a rollout that could stop early ended.", whole=True),
)
_COUNTED = (
    column("score", "Share of correct answers.", "0 to 1"),
    column("correct", "Number of correct answers.", "count"),
    column("questions", "Number of questions.", "count"),
    column("standard_error", "Standard error of the score, if the source states it.", "0 to 1"),
)
_MEAN = (
    column("score", "Mean score on held-out questions or images.", "0 to 1"),
    column("ci_low", "Lower end of the 95 % interval.", "0 to 1"),
    column("ci_high", "Upper end of the 95 % interval.", "0 to 1"),
    column("questions", "Number of questions or images.", "count"),
)
_STATISTICS = (
    ("count", "Number of frames or images", "count"),
    ("mean", "Mean", ""),
    ("std", "Standard deviation", ""),
    ("min", "Minimum", ""),
    ("max", "Maximum", ""),
    *((f"q{q}", f"{int(q)} % quantile", "") for q in ("01", "10", "50", "90", "99")),
)

STAGE_KINDS = (
    FileKind(
        "Episode records",
        ("rollouts/*/episodes.parquet", "rollouts/*/shards/*.parquet"),
        "One row per episode of a rollout. A shard is a part of the same table. Rollouts that could stop "
        "early have the end of the rollout in the file's metadata, under `vlm4vla.stop`.",
        (
            column("study", "Name of the study."),
            column("scale", "Scale of the study: `smoke`, `embedded`, `paper` or `released`."),
            column("benchmark", "The benchmark."),
            column("model", "The backbone or expert VLA; `random` or `expert` for the reference policies."),
            column("auxiliary", "The auxiliary task on which the backbone was fine-tuned first, or `none`."),
            column("variant", "The key of `variants` in config.yaml."),
            column("seed", "Training seed of the policy."),
            column("episode", "Number of the episode in the rollout, from 0."),
            column("task", "The task. The tasks of a chain are joined by ` > `."),
            column("instruction", "The instruction. The instructions of a chain are joined by ` > `."),
            column(
                "initial_state",
                "Number of the initial state. Equal numbers are equal scenes for all policies.",
            ),
            column("rollout_seed", "Seed of the initial states and of policies that sample actions."),
            column("checkpoint", "Hash of the policy's checkpoint, as in its provenance.", "hexadecimal"),
            column(
                "execution_horizon",
                "Actions of a chunk that are executed before the next prediction.",
                "count",
            ),
            column("max_steps", "Step limit, per instruction for chains and per episode otherwise.", "steps"),
            column("steps", "Steps that the episode took.", "steps"),
            column("success", "Whether every instruction of the episode was solved."),
            column("solved", "Number of instructions that were solved in a row, from the first.", "count"),
            column("protocol", "How the episode was evaluated, in words. Only equal protocols are compared."),
        ),
    ),
    FileKind(
        "Provenance",
        ("*provenance.json",),
        "What a folder was made from. It is written last, so a folder that has it is finished.",
        PROVENANCE,
    ),
    FileKind(
        "Training curves",
        ("*/train.jsonl", "*train.jsonl"),
        "One line of JSON every `log_every` updates.",
        (
            key("step", "Number of updates so far.", "updates"),
            key("loss", "Mean training loss since the last line.", "that of the head's loss"),
            key("learning_rate", "Learning rate at this update.", "1"),
            key("samples_per_second", "Training speed since the last line.", "samples/s"),
            key("gradient_norm", "Norm of the gradient before clipping, at the last update.", "1"),
        ),
    ),
    FileKind(
        "Question scores",
        ("capability/*.json",),
        "Scores of a VLM on questions, in total and for each set.",
        (
            key("sets", "Scores by question set or benchmark."),
            key("sets.*", "One set."),
            *below("sets.*", _COUNTED),
            key("overall", "The score over all sets."),
            *below("overall", _COUNTED),
            key("provenance", "As in provenance.json."),
            *below("provenance", PROVENANCE),
        ),
    ),
    FileKind(
        "Scores on auxiliary tasks",
        ("auxiliary/*/score.json",),
        "The score of a VLM on the task, before and after the fine-tuning.",
        tuple(
            found
            for when in ("before", "after")
            for found in (
                key(when, f"The scores {when} the fine-tuning."),
                *below(when, _MEAN),
                key(f"{when}.chance", "Score of guessing.", "0 to 1"),
                key(f"{when}.modalities", "Scores of omni-generation: image, depth and segmentation."),
                key(f"{when}.modalities.*", "One modality."),
                *below(f"{when}.modalities.*", _MEAN),
            )
        ),
    ),
    FileKind(
        "Report on FAST tokens",
        ("auxiliary_data/fast/report.json",),
        "What the tokenizer loses and how long its tokens are, on held-out chunks.",
        (
            key("chunks", "Number of action chunks.", "count"),
            key("vocabulary", "Number of tokens in the vocabulary.", "count"),
            key("tokens_a_chunk", "Mean number of tokens per chunk.", "tokens"),
            key("round_trip_error", "Mean absolute error after encoding and decoding.", "normalised actions"),
            key("largest_error", "Largest absolute error.", "normalised actions"),
            key("error_bound", "Largest error that rounding can cause.", "normalised actions"),
        ),
    ),
    FileKind(
        "FAST tokenizer",
        ("auxiliary_data/fast/*fast.json",),
        "The fitted tokenizer.",
        (
            key("format", "Version of this file's format."),
            key("chunk", "Number of actions in a chunk.", "actions"),
            key("dimensions", "Numbers in an action.", "count"),
            key("scale", "Cosine coefficients are rounded to multiples of 1 / scale.", "1"),
            key("zero", "Code point of the character for a coefficient of 0.", "code point"),
            key("bpe", "The byte-pair encoding, in the format of the package tokenizers.", whole=True),
        ),
    ),
    FileKind(
        "Maps of omni-generation",
        ("auxiliary_data/*/dense.json",),
        "How depth and segmentation are stored as images.",
        (
            key("depth_limits_m", "Depths that are shown as black and white.", "m"),
            key("palette", "Colour of each class in segmentation images.", "RGB, 0 to 255", whole=True),
        ),
    ),
    FileKind(
        "Words of the questions",
        ("questions/vocabulary.json",),
        "A list of all words of questions and answers, of which the tiny tokenizers are made.",
    ),
    FileKind(
        "Replaced rows of a word embedding",
        ("*/original/rows.json", "auxiliary/*rows.json"),
        "Rows that became tokens of FAST; the folder has their original weights.",
        (key("rows", "Indices of the rows.", "token ids"),),
    ),
    FileKind(
        "Policies",
        ("vla/*/policy.json",),
        "How to run a policy. docs/use-a-policy.md and the model card next to it show its use.",
        (
            key("format", "Version of this file's format."),
            key("benchmark", "The benchmark whose actions the policy predicts."),
            key("chunk", "Number of actions that are predicted at once.", "actions"),
            key("head", "Settings of the action head, as in config.yaml.", whole=True),
            key(
                "statistics",
                "Bounds with which actions are un-normalised.",
                "units of the dataset",
                whole=True,
            ),
            key("state", "Bounds of the robot's state; null if the policy reads no state.", whole=True),
            key("centre_crop", "Fraction of the image area that the policy reads.", "0 to 1"),
            key("reading", "How the backbone reads its prompt, as in config.yaml.", whole=True),
            key("image_tokens", "Number of tokens of an image in the prompt.", "tokens"),
            key("adapter", "`generic` if the backbone's model type has no adapter of its own."),
            key(
                "interface", "Image size (pixels), camera, rate (Hz), names and units of actions.", whole=True
            ),
        ),
    ),
    FileKind(
        "Times and memory of jobs",
        ("benchmarks/*.tsv",),
        "One row per job, written by Snakemake.",
        (
            column("s", "Time from start to end.", "s"),
            column("h:m:s", "The same.", "hours:minutes:seconds"),
            column("max_rss", "Largest resident memory.", "MB"),
            column("max_vms", "Largest virtual memory.", "MB"),
            column("max_uss", "Largest memory that no other process shares.", "MB"),
            column("max_pss", "Largest memory with shared pages in proportion.", "MB"),
            column("io_in", "Data read from disk.", "MB"),
            column("io_out", "Data written to disk.", "MB"),
            column("mean_load", "CPU time divided by the time.", "% of a core"),
            column("cpu_time", "CPU time at Snakemake's last look, so too low; the log has it all.", "s"),
        ),
    ),
    FileKind(
        "Demonstrations: frames",
        ("demonstrations/*/data/*.parquet",),
        "One row per frame of a LeRobot v3.0 dataset. Images of converted datasets are in videos instead.",
        (
            column("observation.images.*", "The camera image at this step, before the action (PNG, RGB)."),
            column("observation.state", "State of the robot; info.json names its numbers.", "m and rad"),
            column(
                "observation.*", "A further observation; info.json names its numbers.", "as info.json says"
            ),
            column("initial_state", "Initial state of the episode in the simulator's own numbers."),
            column("action", "The action: x, y, z, roll, pitch, yaw, gripper.", "commands of the benchmark"),
            column("timestamp", "Time since the start of the episode.", "s"),
            column("frame_index", "Number of the frame in its episode, from 0."),
            column("episode_index", "Number of the episode, from 0."),
            column("index", "Number of the frame in the dataset, from 0."),
            column("task_index", "Number of the instruction in meta/tasks.parquet."),
        ),
    ),
    FileKind(
        "Demonstrations: episodes",
        ("demonstrations/*/meta/episodes/*.parquet",),
        "One row per episode.",
        (
            column("episode_index", "Number of the episode, from 0."),
            column("tasks", "The instructions of the episode."),
            column("length", "Number of frames.", "frames"),
            column("data/chunk_index", "Folder of the file with the frames."),
            column("data/file_index", "Number of the file with the frames."),
            column("meta/episodes/chunk_index", "Folder of this file."),
            column("meta/episodes/file_index", "Number of this file."),
            column("dataset_from_index", "Index of the first frame."),
            column("dataset_to_index", "Index after the last frame."),
            column("videos/*/chunk_index", "Folder of the video."),
            column("videos/*/file_index", "Number of the video."),
            column("videos/*/from_timestamp", "Start of the episode in the video.", "s"),
            column("videos/*/to_timestamp", "End of the episode in the video.", "s"),
            *(
                column(
                    f"stats/*/{name}", f"{what} of a feature over the episode.", unit or "that of the feature"
                )
                for name, what, unit in _STATISTICS
            ),
        ),
    ),
    FileKind(
        "Demonstrations: instructions",
        ("demonstrations/*/meta/tasks.parquet",),
        "One row per instruction.",
        (column("task", "The instruction."), column("task_index", "Its number.")),
    ),
    FileKind(
        "Demonstrations: statistics",
        ("demonstrations/*/meta/stats.json",),
        "Statistics of each feature over all frames.",
        (
            key("*", "A feature of the dataset."),
            *(
                key(f"*.{name}", f"{what} over all frames.", unit or "that of the feature")
                for name, what, unit in _STATISTICS
            ),
        ),
    ),
    FileKind(
        "Demonstrations: description",
        ("demonstrations/*/meta/info.json",),
        "The description of a LeRobot dataset, which its loaders read.",
        (
            key("codebase_version", "Version of LeRobot's format."),
            key("robot_type", "The robot."),
            key("fps", "Control rate.", "Hz"),
            key("total_episodes", "Number of episodes.", "count"),
            key("total_frames", "Number of frames.", "count"),
            key("total_tasks", "Number of different instructions.", "count"),
            key("chunks_size", "Largest number of files in a folder.", "files"),
            key("data_files_size_in_mb", "Size at which LeRobot begins a new data file.", "MB"),
            key("video_files_size_in_mb", "Size at which LeRobot begins a new video.", "MB"),
            key("data_path", "Template of the data files' paths."),
            key("video_path", "Template of the videos' paths; null without videos."),
            key("splits", "Range of episodes of each split.", whole=True),
            key("features", "Type, shape and names of each column.", whole=True),
        ),
    ),
    FileKind(
        "Episodes that a conversion left out",
        ("demonstrations/*left_out.json",),
        "Why each of these episodes is not in the dataset.",
        (key("*", "Sentence on the episode or the reason."),),
    ),
)
_HUB = "transformers defines its keys (documentation of the model's classes)."
FOREIGN_KINDS = (
    FileKind(
        "Packed study (`vlm4vla pack`)",
        ("ro-crate-metadata.json",),
        "In the zip file, next to the files of the study. The RO-Crate specification defines its keys.",
        foreign=True,
    ),
    FileKind(
        "Model configuration",
        (
            "*/config.json",
            "*/generation_config.json",
            "*/preprocessor_config.json",
            "*/processor_config.json",
        ),
        _HUB,
        foreign=True,
    ),
    FileKind(
        "Tokenizer",
        ("*/tokenizer.json", "*/tokenizer_config.json", "*/chat_template.json", "*/special_tokens_map.json"),
        "The packages tokenizers and transformers define its keys.",
        foreign=True,
    ),
    FileKind(
        "Description of a dataset of questions",
        ("questions/*/dataset_info.json", "auxiliary_data/*/dataset_info.json", "*/state.json"),
        "The package datasets defines its keys. The Arrow file has the columns image (PNG), scene (what is "
        "on the image, JSON), and statements: question, answer and set; for omni-generation also depth and "
        "segmentation.",
        foreign=True,
    ),
)
KINDS_OF_STAGES = (*STAGE_KINDS, *FOREIGN_KINDS)
