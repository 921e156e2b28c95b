"""Suites of many tasks of one robot or many: Meta-World and DeepMind Control, as Gymnasium environments."""
