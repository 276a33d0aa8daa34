"""Writes the YAMLs of MMLU's 57 subjects and four categories: ``python tasks/mmlu/generate.py``.

lm-eval has no shorter way that lets a subject be run by its name.
"""

from pathlib import Path

SUBJECTS = {
    "stem": """
        abstract_algebra anatomy astronomy college_biology college_chemistry college_computer_science
        college_mathematics college_physics computer_security conceptual_physics electrical_engineering
        elementary_mathematics high_school_biology high_school_chemistry high_school_computer_science
        high_school_mathematics high_school_physics high_school_statistics machine_learning
    """,
    "humanities": """
        formal_logic high_school_european_history high_school_us_history high_school_world_history
        international_law jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy
        prehistory professional_law world_religions
    """,
    "social_sciences": """
        econometrics high_school_geography high_school_government_and_politics high_school_macroeconomics
        high_school_microeconomics high_school_psychology human_sexuality professional_psychology
        public_relations security_studies sociology us_foreign_policy
    """,
    "other": """
        business_ethics clinical_knowledge college_medicine global_facts human_aging management marketing
        medical_genetics miscellaneous nutrition professional_accounting professional_medicine virology
    """,
}
"""Category → its subjects (Hendrycks et al. 2021, arXiv 2009.03300)."""


def files() -> dict[str, str]:
    """File name → content of every generated YAML."""
    made = {}
    for category, subjects in SUBJECTS.items():
        made[f"_pkt_mmlu_{category}.yaml"] = _group(category)
        for subject in subjects.split():
            made[f"pkt_mmlu_{subject}.yaml"] = _subject(subject, category)
    return made


def _group(category: str) -> str:
    return f"""# Made by generate.py.
group: pkt_mmlu_{category}
group_alias: {category.replace("_", " ")}
task:
  - pkt_mmlu_{category}_tasks
aggregate_metric_list:
  - metric: acc
    weight_by_size: true
metadata:
  version: 1.0
"""


def _subject(subject: str, category: str) -> str:
    return f"""# Made by generate.py.
include: _subject.yaml
task: pkt_mmlu_{subject}
task_alias: {subject}
tag: pkt_mmlu_{category}_tasks
dataset_name: {subject}
"""


if __name__ == "__main__":
    for name, content in files().items():
        (Path(__file__).parent / name).write_text(content, encoding="utf-8")
