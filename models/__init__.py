"""Turns history into a model that the risk engine can load, and nothing the gateway waits for.

The way through: `synthetic` makes a labelled world for demo and tests, `dataset` replays a log of
risk events into a point-in-time training set, `train` fits and calibrates, `evaluate` measures,
`registry` records, promotes and publishes a bundle, `bootstrap` runs all of it once. Nothing is
imported here, because MLflow, scikit-learn and LightGBM take seconds to load.
"""
