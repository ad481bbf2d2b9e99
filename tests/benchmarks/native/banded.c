/* shift*I - J by bands, row by row, eliminated without pivoting: row i holds the columns i-ML .. i+MU. */
#define WIDTH (ML + MU + 1)
#define FACTORS (N * WIDTH)

static void factorise(const double *restrict j, double shift, double *restrict w)
{
    memset(w, 0, FACTORS * sizeof(double));
    for (int i = 0; i < N; i++) w[i * WIDTH + ML] = shift;
    for (int e = 0; e < NNZ; e++) w[ROW[e] * WIDTH + COL[e] - ROW[e] + ML] -= j[e];
    for (int k = 0; k < N; k++) {
        const double *pivot = w + k * WIDTH + ML;
        const int right = k + MU < N ? MU : N - 1 - k, below = k + ML < N ? ML : N - 1 - k;
        for (int i = 1; i <= below; i++) {
            double *row = w + (k + i) * WIDTH + ML - i;
            if (row[0] == 0.0) continue;
            row[0] /= pivot[0];
            for (int c = 1; c <= right; c++) row[c] -= row[0] * pivot[c];
        }
    }
}

static void solve(const double *restrict w, const double *restrict b, double *restrict x)
{
    for (int i = 0; i < N; i++) {
        const double *row = w + i * WIDTH + ML;
        double value = b[i];
        for (int c = i < ML ? i : ML; c > 0; c--) value -= row[-c] * x[i - c];
        x[i] = value;
    }
    for (int i = N - 1; i >= 0; i--) {
        const double *row = w + i * WIDTH + ML;
        double value = x[i];
        for (int c = i + MU < N ? MU : N - 1 - i; c > 0; c--) value -= row[c] * x[i + c];
        x[i] = value / row[0];
    }
}
