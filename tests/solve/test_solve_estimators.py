"""SparseCoder and Lasso as estimators of scikit-learn."""

import pickle
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso as Peer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from szilard import solve
from szilard.errors import SzilardError, SzilardWarning
from szilard.solve import Lasso, SparseCoder, lasso_gap

IMPORT = re.compile(r"\s*(import|from) ")


def coded(count=12, features=40, atoms=80, entries=4, noise=0.0, dtype=np.float64):
    random = np.random.default_rng(0)
    D = random.standard_normal((atoms, features))
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    codes = np.zeros((count, atoms))
    for row in codes:
        row[random.choice(atoms, entries, replace=False)] = random.standard_normal(entries) + 2
    X = codes @ D + noise * random.standard_normal((count, features))
    return D.astype(dtype), codes.astype(dtype), X.astype(dtype)


def test_only_the_estimators_import_scikit_learn():
    for path in Path(solve.__file__).parent.glob("*.py"):
        found = {
            line.split()[1].split(".")[0] for line in path.read_text().splitlines() if IMPORT.match(line)
        }
        assert ("sklearn" in found) == (path.name == "estimators.py"), path


@pytest.mark.parametrize("estimator", [Lasso(alpha=0.01), SparseCoder(n_components=3, passes=1)], ids=str)
@pytest.mark.filterwarnings("ignore")
def test_it_is_an_estimator(estimator):
    results = check_estimator(estimator, on_fail=None, on_skip=None)
    assert len(results) > 30
    assert [r["check_name"] for r in results if r["status"] not in ("passed", "skipped")] == []


# -- the sparse coder ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["hyperlista", "omp"])
def test_codes_of_a_known_dictionary(algorithm):
    D, codes, X = coded()
    coder = SparseCoder(D, algorithm, snr=None).fit(X)
    answer = coder.encode(X)
    claimed = np.array(answer.certificate) == "support"
    assert claimed.sum() >= len(X) - 2
    np.testing.assert_allclose(coder.transform(X)[claimed], codes[claimed], atol=1e-8)
    np.testing.assert_allclose(coder.transform(X), codes, atol=5e-3)
    np.testing.assert_allclose(coder.inverse_transform(coder.transform(X))[claimed], X[claimed], atol=1e-8)
    assert coder.n_features_in_ == 40


def test_lasso_codes_are_minima():
    D, _, X = coded(noise=0.1)
    codes = SparseCoder(D, "lasso", penalty=0.2).fit(X).transform(X)
    assert (lasso_gap(D.T, codes, X, 0.2) <= 1e-4).all()


def test_noise_is_left_out():
    D, codes, X = coded(noise=0.05)
    snr = 20 * np.log10(np.linalg.norm(codes @ D) / np.linalg.norm(X - codes @ D))
    found = SparseCoder(D, snr=snr).fit(X).transform(X)
    assert np.linalg.norm(found - codes) < 0.2 * np.linalg.norm(codes)
    assert (found != 0).mean() < 0.3


def test_tuning_is_that_of_its_seed():
    D, _, X = coded(features=10, atoms=20, entries=1)
    first = SparseCoder(D, tune=True, density=0.05, random_state=3).fit(X)
    assert not torch.equal(first.solver_.numbers, SparseCoder(D).fit(X).solver_.numbers)
    assert torch.equal(first.solver_.numbers, clone(first).fit(X).solver_.numbers)


def test_a_learned_dictionary_codes_what_it_learned():
    _, _, X = coded(60, 10, 12, 2)
    coder = SparseCoder(n_components=15, alpha=0.2, passes=10, random_state=0).fit(X)
    assert coder.components_.shape == (15, 10)
    np.testing.assert_allclose(np.linalg.norm(coder.components_, axis=1), 1)
    back = coder.inverse_transform(coder.transform(X))
    assert np.linalg.norm(back - X) < 0.3 * np.linalg.norm(X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_are_kept(dtype):
    D, codes, X = coded(dtype=dtype)
    coder = SparseCoder(D, snr=None).fit(X)
    assert coder.components_.dtype == dtype
    assert coder.transform(X).dtype == dtype
    assert coder.inverse_transform(codes).dtype == dtype
    other = np.float64 if dtype == np.float32 else np.float32
    assert coder.transform(X.astype(other)).dtype == other
    model = Lasso(0.01).fit(X, X[:, 0])
    assert model.coef_.dtype == model.predict(X).dtype == dtype


def test_it_stands_in_pipelines_and_searches():
    D, codes, X = coded(40)
    y = codes @ np.arange(80.0)
    coder = SparseCoder(D, snr=None)
    line = make_pipeline(coder, Ridge(1e-6))
    assert line.fit(X, y).score(X, y) > 0.999
    search = GridSearchCV(line, {"sparsecoder__algorithm": ["hyperlista", "omp"]}, cv=2).fit(X, y)
    assert search.best_params_["sparsecoder__algorithm"] in ("hyperlista", "omp")
    names = make_pipeline(coder).set_output(transform="pandas") if _pandas() else None
    if names is not None:
        assert list(names.fit_transform(X).columns[:2]) == ["sparsecoder0", "sparsecoder1"]
    assert list(coder.fit(X).get_feature_names_out()[:2]) == ["sparsecoder0", "sparsecoder1"]
    again = pickle.loads(pickle.dumps(coder))
    np.testing.assert_array_equal(again.transform(X), coder.transform(X))


def _pandas():
    try:
        import pandas  # noqa: F401
    except ImportError:
        return False
    return True


def test_atoms_that_do_not_span_all_features():
    D, _, X = coded(features=40, atoms=20, entries=2)
    coder = SparseCoder(D, snr=None).fit(X)
    np.testing.assert_allclose(coder.inverse_transform(coder.transform(X)), X, atol=1e-6)


def test_what_it_refuses():
    D, codes, X = coded()
    with pytest.raises(SzilardError, match="algorithm='lars'; give hyperlista, omp, lasso"):
        SparseCoder(D, "lars").fit(X)
    with pytest.raises(SzilardError, match="atoms have 40 features and X has 39"):
        SparseCoder(D).fit(X[:, 1:])
    with pytest.raises(SzilardError, match="codes have 79 columns and there are 80 atoms"):
        SparseCoder(D).fit(X).inverse_transform(codes[:, 1:])
    with pytest.raises(SzilardError, match="density=2"):
        SparseCoder(D, density=2, tune=True).fit(X)
    with pytest.raises(SzilardError, match="alpha=-1"):
        Lasso(-1).fit(X, X[:, 0])


# -- the lasso ----------------------------------------------------------------------------------------------


def value(model, X, y, alpha):
    rest = y - X @ np.atleast_2d(model.coef_).T - model.intercept_ if y.ndim == 2 else y - model.predict(X)
    return (rest**2).sum() / (2 * len(X)) + alpha * np.abs(model.coef_).sum()


@pytest.mark.parametrize("alpha", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("intercept", [True, False])
def test_the_objective_is_that_of_scikit_learn(alpha, intercept):
    X, y = load_diabetes(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    ours = Lasso(alpha, fit_intercept=intercept, tol=1e-8).fit(X, y)
    peer = Peer(alpha, fit_intercept=intercept, tol=1e-10, max_iter=100_000).fit(X, y)
    assert value(ours, X, y, alpha) <= value(peer, X, y, alpha) * (1 + 1e-7)
    np.testing.assert_allclose(ours.coef_, peer.coef_, atol=2e-2 * np.abs(peer.coef_).max())
    assert ours.intercept_ == pytest.approx(peer.intercept_, abs=1e-6)
    assert 0 <= ours.dual_gap_ <= 1e-8 * value(ours, X, y, alpha)
    assert 1 <= ours.n_iter_ < 10_000


def test_more_features_than_samples():
    _, _, X = coded(30, 200, 80, noise=0.1)
    y = X[:, :5].sum(1) + 3
    ours, peer = Lasso(0.02, tol=1e-9).fit(X, y), Peer(0.02, tol=1e-10, max_iter=100_000).fit(X, y)
    assert value(ours, X, y, 0.02) == pytest.approx(value(peer, X, y, 0.02), rel=1e-7)


def test_several_targets_are_solved_together():
    X, y = load_diabetes(return_X_y=True)
    Y = np.stack([y, -2 * y + X[:, 0], np.full(len(y), 7.0)], 1)
    model = Lasso(0.1, tol=1e-8).fit(X, Y)
    assert model.coef_.shape == (3, 10)
    assert model.intercept_.shape == model.dual_gap_.shape == (3,)
    assert not model.coef_[2].any()
    assert model.predict(X).shape == Y.shape
    for column in (0, 1):
        one = Lasso(0.1, tol=1e-8).fit(X, Y[:, column])
        np.testing.assert_allclose(one.predict(X), model.predict(X)[:, column], rtol=1e-3)
    assert Lasso(0.1).fit(X, y[:, None]).predict(X).shape == (len(y), 1)


def test_constant_and_repeated_features():
    X, y = load_diabetes(return_X_y=True)
    wide = np.column_stack([X, np.full(len(X), 3.0), X[:, 2]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = Lasso(0.1).fit(wide, y)
        only = Lasso(0.1).fit(wide[:, 10:11], y)
    assert model.coef_[10] == 0
    assert only.predict(wide[:, 10:11])[0] == pytest.approx(y.mean())
    np.testing.assert_allclose(model.predict(wide), Lasso(0.1).fit(X, y).predict(X), rtol=1e-3)


def test_an_unfinished_fit_is_told():
    X, y = load_diabetes(return_X_y=True)
    with pytest.warns(SzilardWarning, match="relative duality gap of .* after 3 iterations") as told:
        Lasso(0.001, max_iter=3).fit(X, y)
    assert told[0].filename == __file__


def test_a_lasso_without_a_penalty_takes_it_from_the_noise():
    draws = np.random.default_rng(0)
    atoms = draws.normal(size=(80, 40))
    Y = atoms[:20] + 0.1 * draws.normal(size=(20, 40))
    coder = SparseCoder(atoms, "lasso", snr=20).fit(Y)
    answer = coder.encode(Y)
    assert set(answer.certificate) == {"lasso"}
    assert (answer.penalty > 0).all()
    assert (coder.transform(Y) != 0).mean() < 0.3


def test_matching_pursuit_keeps_to_the_number_of_entries():
    draws = np.random.default_rng(0)
    atoms = draws.normal(size=(80, 40))
    Y = draws.normal(size=(10, 40))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SzilardWarning)
        codes = SparseCoder(atoms, "omp", layers=3).fit(Y).transform(Y)
    assert ((codes != 0).sum(1) <= 3).all()
