"""The guard: what it certifies, what it solves again, and what it tells."""

import math
import warnings

import numpy as np
import pytest
import scipy.sparse.linalg
import torch

from szilard.errors import SzilardError, SzilardWarning
from szilard.solve import FISTA, ISTA, OMP, ContinuationFISTA, Functions, Guard, HyperLISTA, lasso_gap
from szilard.solve.operators import Matrix, as_operator
from szilard.solve.samples import CodePrior, error_db
from szilard.solve.support import Supports, chance


def problem(m=100, n=200, count=16, density=0.06, snr=None, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(m, n, generator=generator, dtype=torch.float64)
    A = (A / A.norm(dim=0)).to(dtype)
    x, b = CodePrior(density, snr=snr).draw(as_operator(A), count, generator)
    return A, x, b


def chosen(answer, name):
    return torch.tensor([certificate == name for certificate in answer.certificate])


# -- least squares on a support -----------------------------------------------------------------------------


def operators(A):
    linear = scipy.sparse.linalg.aslinearoperator(A.numpy())
    pair = Functions(lambda x: x @ A.t(), lambda r: r @ A, tuple(A.shape), A.dtype)
    return {"matrix": Matrix(A), "scipy": as_operator(linear), "functions": pair}


@pytest.mark.parametrize("form", ["matrix", "scipy", "functions"])
def test_conjugate_gradients_on_a_known_support_are_exact(form):
    A, x, b = problem()
    start = x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1)) * (x != 0)
    fit = Supports(operators(A)[form]).fit(start, b)
    assert fit.converged.all()
    assert fit.independent.all()
    assert (error_db(fit.z, x) < -200).all()
    assert int(fit.steps.max()) <= (3 if form == "matrix" else 30)
    assert ((fit.z != 0) == (x != 0)).all()


def test_more_entries_than_the_truth_do_no_harm_and_fewer_are_least_squares():
    A, x, b = problem()
    more = x.clone()
    more[:, :20] += 1.0
    torch.testing.assert_close(Supports(Matrix(A)).fit(more, b).z, x)
    fewer = x * (x.abs() > 0.3)
    z = Supports(Matrix(A)).fit(fewer, b).z
    for row in range(len(x)):
        S = fewer[row].nonzero()[:, 0]
        torch.testing.assert_close(z[row, S], torch.linalg.lstsq(A[:, S], b[row]).solution)
        assert z[row].count_nonzero() == len(S)


@pytest.mark.parametrize("form", ["matrix", "scipy", "functions"])
def test_dependent_columns_are_seen(form):
    A, x, b = problem(30, 40, 3, 0.1)
    A[:, 5] = A[:, 6] + 1e-6 * A[:, 7]
    A[:, 8] = A[:, 9] + A[:, 10]
    x[:, 5:11] = 0.0
    x[0, 5:7], x[1, 5], x[2, 8:11] = 1.0, 1.0, 1.0
    fit = Supports(operators(A)[form]).fit(x, b)
    assert fit.independent.tolist() == [False, True, False]


def test_samples_without_entries_fit():
    A, _, b = problem(30, 40, 3)
    for operator in operators(A).values():
        fit = Supports(operator).fit(torch.zeros(3, 40), b)
        assert fit.converged.all()
        assert fit.independent.all()
        assert not fit.z.any()


def test_the_chance_is_a_bound_of_what_is_drawn():
    m, n, s = 6, 8, 2
    A = torch.randn(m, n, generator=torch.Generator().manual_seed(0)).double().numpy()
    pairs = [np.linalg.qr(A[:, [i, j]])[0] for i in range(n) for j in range(i)]
    b = np.random.default_rng(0).standard_normal((20_000, m))
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    least = np.min([1 - ((b @ Q) ** 2).sum(1) for Q in pairs], axis=0) ** 0.5
    for share in (0.1, 0.2):
        bound = math.exp(float(chance(torch.tensor([s]), m, n, torch.tensor([share]))))
        drawn = (least <= share).mean()
        assert 0.7 * drawn <= bound <= 2 * drawn


def test_the_chance_grows_with_entries_and_noise():
    entries = torch.arange(1, 260)
    values = chance(entries, 250, 500, torch.full((259,), 0.01))
    assert (values.diff() >= 0).all()
    assert values[0] < -900
    assert (values[entries >= 240] == 0).all()
    assert float(chance(torch.tensor([50]), 250, 500, torch.tensor([1.0]))) == 0


# -- the guard ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_supports_are_certified_and_exact(dtype):
    A, x, b = problem(dtype=dtype)
    answer = Guard(HyperLISTA(A))(b)
    assert answer.counts == {"support": 16, "lasso": 0, "none": 0, "fallback": 0}
    assert answer.x.dtype == dtype
    assert (error_db(answer.x, x) < (-120 if dtype == torch.float32 else -200)).all()
    assert (answer.residual < (1e-6 if dtype == torch.float32 else 1e-14)).all()
    assert (answer.cg_steps <= 12).all()
    assert (answer.layers >= 3).all()
    assert answer.gap.isnan().all()
    assert repr(answer) == "Answer(16 samples of 200 codes: 16 support, 0 lasso, 0 none, 0 fallback)"


@pytest.mark.parametrize("density", [0.05, 0.1, 0.15, 0.2, 0.3, 0.45])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_support_is_certified_that_is_wrong(density, dtype):
    A, x, b = problem(60, 120, 24, density, seed=5, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SzilardWarning)
        answer = Guard(HyperLISTA(A), iterations=300)(b)
    claimed = chosen(answer, "support")
    assert (error_db(answer.x, x)[claimed] < -60).all()
    if density == 0.05:
        assert claimed.all()
    if density == 0.45:
        assert not claimed.any()


def test_samples_that_fall_back_are_minima_of_their_objective():
    A, _, b = problem(60, 120, 8, 0.3)
    answer = Guard(HyperLISTA(A), penalty=0.05)(b)
    assert answer.counts["lasso"] == answer.counts["fallback"] == 8
    assert (answer.gap <= 1e-4).all()
    assert (answer.penalty == 0.05).all()
    assert (lasso_gap(A, answer.x, b, 0.05) <= 1e-4).all()


def test_what_a_weak_solver_leaves_is_solved_again_and_fitted():
    A, x, b = problem(50, 100, 16)
    answer = Guard(ISTA(A, 0.5, layers=2), debias=True, penalty=0.01)(b)
    assert answer.counts["fallback"] == 16
    assert answer.counts["support"] >= 6
    claimed = chosen(answer, "support")
    assert (error_db(answer.x, x)[claimed] < -200).all()
    assert (error_db(answer.x, x) < -15).all()
    plain = Guard(ISTA(A, 0.01, layers=2))(b)
    assert plain.counts["support"] == 0
    assert (plain.residual >= answer.residual - 1e-9).all()
    assert (plain.residual > 100 * answer.residual)[claimed].all()


@pytest.mark.parametrize(
    "make", [lambda A: FISTA(A, 0.05, 2000), lambda A: ContinuationFISTA(A, 0.05, 2000, 1e-8)]
)
def test_a_solver_with_a_penalty_is_asked_for_its_minimum(make):
    A, _, b = problem(50, 100, 6)
    answer = Guard(make(A))(b)
    assert answer.counts == {"support": 0, "lasso": 6, "none": 0, "fallback": 0}
    assert (lasso_gap(A, answer.x, b, 0.05) <= 1e-4).all()
    few = Guard(FISTA(A, 0.05, 3))(b)
    assert few.counts["fallback"] == few.counts["lasso"] == 6
    with pytest.raises(SzilardError, match="relative"):
        Guard(ContinuationFISTA(A, 0.1, relative=True))


def test_what_has_no_certificate_is_told_with_its_number():
    A, _, b = problem(60, 120, 8, 0.3)
    with pytest.warns(SzilardWarning, match="8 of 8 samples have no certificate") as told:
        answer = Guard(HyperLISTA(A), iterations=5)(b)
    assert told[0].filename == __file__
    assert answer.counts["none"] == 8
    assert set(answer.certificate) == {"none"}


@pytest.mark.parametrize("snr", [20, 40])
def test_with_noise_a_support_is_as_near_as_the_noise_allows(snr):
    A, x, b = problem(snr=snr)
    noise = (b - x @ A.t()).norm(dim=1) * 1.05
    deviation = noise / (100**0.5 + 2)
    answer = Guard(HyperLISTA(A), deviation)(b)
    claimed = chosen(answer, "support")
    assert claimed.sum() >= 12
    off = (answer.x - x).norm(dim=1)
    assert (off[claimed] <= 3 * noise[claimed]).all()
    assert ((answer.residual * b.norm(dim=1))[claimed] <= noise[claimed]).all()
    one = Guard(HyperLISTA(A), float(deviation.max()))(b)
    assert one.counts["none"] == 0
    ratio = Guard(HyperLISTA(A), snr=snr)(b)
    assert ratio.counts["support"] >= 12
    clean = b.square().mean(1).sqrt() * 10 ** (-snr / 20) / (1 + 10 ** (-snr / 10)) ** 0.5
    assert Guard(HyperLISTA(A), clean)(b).certificate == ratio.certificate


def test_noise_alone_is_never_given_a_support():
    A, _, _ = problem()
    b = torch.randn(16, 100, generator=torch.Generator().manual_seed(2)).double()
    for share in (0.1, 0.3, 0.9, 2.0):
        answer = Guard(HyperLISTA(A), noise=share * b.norm(dim=1) / 12)(b)
        assert answer.counts["support"] == 0
        assert answer.counts["lasso"] == 16


def test_order_and_size_of_samples_do_not_matter():
    A, _, b = problem(50, 100, 8, density=0.15)
    guard = Guard(HyperLISTA(A))
    wanted = guard(b)
    order = torch.tensor([5, 2, 7, 0, 1, 3, 6, 4])
    other = guard(b[order])
    assert other.certificate == tuple(wanted.certificate[index] for index in order)
    torch.testing.assert_close(other.x, wanted.x[order], atol=1e-6, rtol=1e-4)
    sizes = torch.logspace(-3, 3, 8).double()[:, None]
    scaled = guard(b * sizes)
    assert scaled.certificate == wanted.certificate
    torch.testing.assert_close(scaled.x / sizes, wanted.x, atol=1e-6, rtol=1e-4)


def test_columns_of_any_norm():
    A, x, b = problem()
    sizes = torch.linspace(0.3, 7, 200).double()
    with pytest.warns(SzilardWarning, match="scales them to 1"):
        solver = HyperLISTA(A * sizes)
    answer = Guard(solver)(b)
    assert answer.counts["support"] == 16
    torch.testing.assert_close(answer.x, x / sizes, atol=1e-10, rtol=1e-8)
    fell = Guard(solver, penalty=0.05, layers=0)(b)
    assert (lasso_gap(A * sizes, fell.x, b, 0.05) <= 1e-4).all()


@pytest.mark.parametrize(
    "make", [OMP, lambda A: FISTA(A, 0.01, 60), lambda A: ContinuationFISTA(A, 0.01, 60)]
)
def test_other_solvers(make):
    A, x, b = problem(50, 100, 6)
    answer = Guard(make(A), debias=True)(b)
    assert answer.counts["none"] == 0
    claimed = chosen(answer, "support")
    assert claimed.sum() >= 3
    assert (error_db(answer.x, x)[claimed] < -200).all()


@pytest.mark.parametrize("form", ["scipy", "functions"])
def test_operators(form):
    A, x, b = problem(50, 100, 4)
    solver = ContinuationFISTA(operators(A)[form], 0.01, 60)
    assert Guard(solver)(b).counts["lasso"] == 4
    if form == "scipy":  # a call for each row is slow
        return
    answer = Guard(solver, debias=True)(b)
    assert answer.counts["none"] == 0
    claimed = chosen(answer, "support")
    assert claimed.any()
    assert (error_db(answer.x, x)[claimed] < -200).all()
    assert 0 < int(answer.cg_steps.max()) <= 40


def test_no_samples_and_samples_of_zeros():
    A, _, b = problem(30, 60, 3)
    guard = Guard(HyperLISTA(A))
    assert guard(b[:0]).x.shape == (0, 60)
    answer = guard(torch.cat([b[:1], 0 * b[:1]]))
    assert answer.certificate[1] == "support"
    assert not answer.x[1].any()
    assert answer.residual[1] == 0
    assert Guard(HyperLISTA(A), noise=0.1)(0 * b).counts["none"] == 0


def test_what_it_refuses():
    A, _, b = problem(30, 60, 3)
    solver = HyperLISTA(A)
    for options, words in (
        ({"noise": -1.0}, "noise=-1.0"),
        ({"penalty": float("inf")}, "penalty=inf"),
        ({"noise": torch.ones(2, 2)}, "one for each sample"),
        ({"noise": 0.1, "snr": 20}, "give one of them"),
        ({"snr": float("nan")}, "snr=nan"),
    ):
        with pytest.raises(SzilardError, match=words):
            Guard(solver, **options)
    with pytest.raises(SzilardError, match="noise has 2 numbers and b 3 rows"):
        Guard(solver, torch.ones(2))(b)
    with pytest.raises(SzilardError, match="b needs a row of 30 numbers"):
        Guard(solver)(b[:, 1:])


# -- what a support certificate is worth -------------------------------------------------------------------


def steps_and_spikes(m=48):
    A = torch.cat([torch.eye(m), torch.tril(torch.ones(m, m))[:, 1 : m - 1]], 1).double()
    return A / A.norm(dim=0)


def sparse(n, count, entries, seed=0, values=torch.randn):
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(count, n).double()
    for row in x:
        row[torch.randperm(n, generator=generator)[:entries]] = values(entries, generator=generator).double()
    return x


@pytest.mark.parametrize("make", [OMP, HyperLISTA])
def test_a_dictionary_that_explains_few_entries_by_others_gets_no_support_that_is_wrong(make):
    A = steps_and_spikes()
    x = sparse(A.shape[1], 60, 4)
    b = x @ A.t()
    solver = make(A)
    fits = (solver(b).relative_residual() < 1e-9) & (error_db(solver(b).x, x) > -40)
    assert make is HyperLISTA or fits.sum() >= 10  # right by its residual alone, and wrong
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SzilardWarning)
        answer = Guard(solver, iterations=20)(b)
    claimed = chosen(answer, "support")
    assert (error_db(answer.x, x)[claimed] < -60).all()


@pytest.mark.parametrize("snr", [10, 25])
@pytest.mark.parametrize("together", [False, True])
def test_few_of_the_supports_that_are_certified_under_noise_are_wrong(snr, together):
    generator = torch.Generator().manual_seed(4)
    centres = torch.arange(96) / 2
    smooth = torch.exp(-((torch.arange(48)[:, None] - centres) ** 2) / 8).double()
    for columns in (torch.randn(48, 96, generator=generator).double(), smooth):
        A = columns / columns.norm(dim=0)
        x = sparse(96, 200, 4)
        if together:
            x = torch.zeros(200, 96).double()
            for row, first in enumerate(torch.randint(0, 92, (200,), generator=generator).tolist()):
                x[row, first : first + 4] = torch.randn(4, generator=generator).double()
        clean = x @ A.t()
        noise = torch.randn(clean.shape, generator=generator).double()
        b = clean + noise * clean.square().mean(1, keepdim=True).sqrt() * 10 ** (-snr / 20)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SzilardWarning)
            answer = Guard(HyperLISTA(A, damping=1e-6), snr=snr, iterations=50)(b)
        claimed = chosen(answer, "support")
        wrong = error_db(answer.x, x)[claimed] > 20 * math.log10(0.3)
        assert wrong.sum() <= max(2, 0.03 * claimed.sum())
        assert claimed.sum() >= (100 if snr == 25 and columns is not smooth and not together else 0)


def test_a_copy_of_a_column_takes_the_certificate_of_codes_that_use_it():
    A, x, b = problem(60, 120, 16, density=0.05)
    x[:, 7] = 0
    x[:4, 7] = 1.0
    b = x @ A.t()
    with pytest.warns(SzilardWarning, match="the same"):
        solver = HyperLISTA(torch.cat([A, -A[:, 7:8]], 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SzilardWarning)
        answer = Guard(solver, iterations=50)(b)
    claimed = chosen(answer, "support")
    assert not claimed[:4].any()
    assert claimed[4:].any()


def test_columns_that_noise_confuses_get_no_support():
    generator = torch.Generator().manual_seed(3)
    steps = torch.randn(80, 160, generator=generator).double().cumsum(1)  # neighbours are nearly equal
    A = steps / steps.norm(dim=0)
    x = sparse(160, 60, 5)
    clean = x @ A.t()
    noise = torch.randn(60, 80, generator=generator).double()
    b = clean + noise * clean.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True) * 10 ** (-25 / 20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SzilardWarning)
        answer = Guard(HyperLISTA(A), snr=25, iterations=50)(b)
    claimed = chosen(answer, "support")
    assert (error_db(answer.x, x)[claimed] > 20 * math.log10(0.3)).sum() <= 1


def test_a_sample_has_the_same_certificate_alone_and_in_any_batch():
    A, _, b = problem(60, 120, 12, density=0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SzilardWarning)
        guard = Guard(HyperLISTA(A), iterations=50)
        whole = guard(b)
        alone = [Guard(HyperLISTA(A), iterations=50)(b[i : i + 1]).certificate[0] for i in range(12)]
        assert guard(b).certificate == whole.certificate
    assert list(whole.certificate) == alone


def test_the_gap_in_float32_is_that_of_the_codes_that_are_returned():
    A, _, b = problem(80, 160, 40, density=0.2, dtype=torch.float32)
    sizes = torch.linspace(0.5, 2, 160)
    given = A * sizes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SzilardWarning)
        answer = Guard(HyperLISTA(given))(b)
    claimed = chosen(answer, "lasso")
    assert claimed.any()
    penalty = answer.penalty.nan_to_num(1.0)
    true = lasso_gap(given.double(), answer.x.double(), b.double(), penalty)[claimed]
    assert (true <= 1e-4).all()
    torch.testing.assert_close(true, answer.gap[claimed], rtol=1e-6, atol=1e-9)


def test_without_falling_back_the_solver_s_own_codes_are_returned():
    A, _, b = problem(60, 120, 8, density=0.2)
    solver = OMP(A, layers=3)
    with pytest.warns(SzilardWarning, match="fall_back=True"):
        answer = Guard(solver, fall_back=False)(b)
    assert answer.counts["fallback"] == 0
    assert ((answer.x != 0).sum(1) <= 3).all()
    torch.testing.assert_close(answer.x, solver(b).x)


def test_columns_that_differ_in_size_are_named_where_no_minimum_is_found():
    A, _, b = problem(30, 60, 3)
    A = A * torch.logspace(-2, 2, 60).double()
    with pytest.warns(SzilardWarning, match="scale the columns of A, whose norms differ by 10000 times"):
        Guard(ContinuationFISTA(A, 0.001, 100), iterations=100)(b)


def test_a_guard_takes_a_solver():
    with pytest.raises(SzilardError, match="Guard takes a solver, not a Tensor"):
        Guard(torch.eye(3))
    with pytest.raises(SzilardError, match="error=0"):
        Guard(OMP(torch.eye(3)), error=0)
