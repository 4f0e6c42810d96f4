"""Questions to answer before running, a file a lesson. `checks/tool/quiz.py` says what one is."""
