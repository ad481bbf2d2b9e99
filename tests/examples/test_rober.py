"""The Robertson example: published values, what it prints, and its figure."""

import numpy as np

from examples import rober


def test_rober(tmp_path, capsys):
    sol = rober.main(tmp_path / "new")
    assert sol.ts[-1] == 1e11
    np.testing.assert_allclose(sol.ys[-1], [2.08334e-8, 8.33336e-14, 0.99999998], rtol=2e-6)
    np.testing.assert_allclose(sol.ys.sum(axis=1), 1.0, atol=1e-12)
    # Once the fast reactions balance, y2 is the root of k2 y2^2 + k3 y3 y2 = k1 y1.
    y1, y2, y3 = sol.ys[sol.ts > 0.02].T
    balance = 2 * 0.04 * y1 / (1e4 * y3 + np.sqrt((1e4 * y3) ** 2 + 4 * 0.04 * 3e7 * y1))
    np.testing.assert_allclose(y2, balance, rtol=1e-4)
    printed = capsys.readouterr().out
    for part in ("constant    y1 + y2 + y3", "switched to Rodas5P (Rosenbrock)", "y(1e11) = 2.0833", "= 1 to within"):
        assert part in printed
    figure = (tmp_path / "new" / "rober.png").read_bytes()
    assert figure.startswith(b"\x89PNG")
    assert len(figure) > 20_000
