/* Adaptive steps as diffrax's PIDController(rtol, atol) takes them: error per step against 1 in the root mean square of
   error / (atol + rtol max(|y0|, |y1|)), safety 0.9, factors 0.2 to 10, growth only after an accepted step. */

static double size(const double *v, const double *a, const double *b, double rtol, double atol)
{
    double sum = 0.0;
    for (int i = 0; i < N; i++) {
        const double x = v[i] / (atol + rtol * fmax(fabs(a[i]), fabs(b[i])));
        sum += x * x;
    }
    return sqrt(sum / N);
}

/* Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, section II.4, page 169. */
static double first_step(double t, double length, const double *y, const double *f, const double *p, double rtol,
                         double atol, double *restrict y1, double *restrict f1)
{
    const double d0 = size(y, y, y, rtol, atol), d1 = size(f, y, y, rtol, atol);
    const double h0 = fmin(d0 < 1e-5 || d1 < 1e-5 ? 1e-6 * length : 0.01 * d0 / d1, length);
    for (int i = 0; i < N; i++) y1[i] = y[i] + h0 * f[i];
    rhs(t + h0, y1, p, f1);
    for (int i = 0; i < N; i++) f1[i] -= f[i];
    const double fastest = fmax(d1, size(f1, y, y, rtol, atol) / h0);
    const double h1 = fastest <= 1e-15 ? fmax(1e-6 * length, 1e-3 * h0) : pow(0.01 / fastest, 1.0 / (ERROR_ORDER + 1));
    const double h = fmin(fmin(100.0 * h0, h1), length);
    return isfinite(h) ? h : 1e-3 * h0;
}

static void interpolate(double theta, const double *y0, const double *y1, double *restrict out)
{
    for (int i = 0; i < N; i++) {
        double k = q[DENSE - 1][i];
        for (int d = DENSE - 2; d >= 0; d--) k = q[d][i] + theta * k;
        out[i] = (1.0 - theta) * y0[i] + theta * (y1[i] + (1.0 - theta) * k);
    }
}

/* Returns 0, or 1 after `most` steps, or 2 where the step vanished. counts: tried, accepted, right sides, Jacobians. */
int integrate(double t0, double t1, const double *y0, const double *p, int saves, const double *ts, double *ys,
              double rtol, double atol, long most, long *counts)
{
    static _Thread_local double memory[4][N], error[N];
    double *y = memory[0], *y_next = memory[1], *f = memory[2], *f_next = memory[3], t = t0;
    long tried = 0, accepted = 0;
    int saved = 0, failed = 0;
    memcpy(y, y0, sizeof error);
    rhs(t, y, p, f);
    double h = first_step(t, t1 - t0, y, f, p, rtol, atol, y_next, f_next);
    while (t < t1) {
        if (tried >= most) { failed = 1; break; }
        if (!(h > 1e-16 * fabs(t))) { failed = 2; break; }
        const int last = t + h >= t1 * (1.0 - 1e-15);
        if (last) h = t1 - t;
        step(t, h, y, f, p, y_next, f_next, error);
        tried++;
        const double e = size(error, y, y_next, rtol, atol);
        const int keep = e < 1.0;
        double factor = isfinite(e) ? 0.9 * pow(e, -1.0 / ERROR_ORDER) : 0.2;
        factor = keep ? fmin(fmax(factor, 1.0), 10.0) : fmin(fmax(factor, 0.2), 0.9);
        if (keep) {
            const double end = last ? t1 : t + h;
            if (saved < saves && ts[saved] <= end) prepare_dense(h);
            for (; saved < saves && ts[saved] <= end; saved++)
                interpolate((ts[saved] - t) / h, y, y_next, ys + (long)saved * N);
            double *swap = y; y = y_next; y_next = swap;
            swap = f; f = f_next; f_next = swap;
            t = end;
            accepted++;
        }
        h *= factor;
    }
    if (counts) {
        counts[0] = tried, counts[1] = accepted;
        counts[2] = tried * RHS_PER_STEP + 2, counts[3] = tried * JACOBIANS_PER_STEP;
    }
    return failed;
}

/* Rows first to last-1 of ps, one after the other; returns how many failed. */
int integrate_many(double t0, double t1, const double *y0, int first, int last, const double *ps, int np, int saves,
                   const double *ts, double *ys, double rtol, double atol, long most)
{
    int failures = 0;
    for (long k = first; k < last; k++)
        failures += integrate(t0, t1, y0, ps + k * np, saves, ts, ys + k * saves * N, rtol, atol, most, 0) != 0;
    return failures;
}
