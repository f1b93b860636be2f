"""Studies: tables of trainings that answer a question, each answer with its interval."""
