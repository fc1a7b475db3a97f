"""Write diabetes.csv, a data set of scikit-learn: ten features and the column to predict, ``target``."""

import csv
from pathlib import Path

from sklearn.datasets import load_diabetes

table = load_diabetes()
with (Path(__file__).parent / "diabetes.csv").open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow([*table.feature_names, "target"])
    writer.writerows([*map(float, row), float(y)] for row, y in zip(table.data, table.target, strict=True))
