/* CVODE through its C interface (SUNDIALS 7), declared here because the shared libraries come without headers. */
typedef struct context_ *SUNContext;
typedef struct vector_ *N_Vector;
typedef struct matrix_ *SUNMatrix;
typedef struct solver_ *SUNLinearSolver;
typedef struct iteration_ *SUNNonlinearSolver;
typedef int (*field_function)(double, N_Vector, N_Vector, void *);
typedef int (*jacobian_function)(double, N_Vector, N_Vector, SUNMatrix, void *, N_Vector, N_Vector, N_Vector);
extern int SUNContext_Create(int, SUNContext *);
extern N_Vector N_VNew_Serial(sunindextype, SUNContext);
extern double *N_VGetArrayPointer(N_Vector);
extern SUNMatrix SUNDenseMatrix(sunindextype, sunindextype, SUNContext);
extern SUNMatrix SUNBandMatrix(sunindextype, sunindextype, sunindextype, SUNContext);
extern double *SUNDenseMatrix_Column(SUNMatrix, sunindextype);
extern double *SUNBandMatrix_Column(SUNMatrix, sunindextype);
extern SUNLinearSolver SUNLinSol_Dense(N_Vector, SUNMatrix, SUNContext);
extern SUNLinearSolver SUNLinSol_Band(N_Vector, SUNMatrix, SUNContext);
extern void *CVodeCreate(int, SUNContext);
extern int CVodeInit(void *, field_function, double, N_Vector);
extern int CVodeReInit(void *, double, N_Vector);
extern int CVodeSStolerances(void *, double, double);
extern int CVodeSetUserData(void *, void *);
extern int CVodeSetMaxNumSteps(void *, long);
extern int CVodeSetLinearSolver(void *, SUNLinearSolver, SUNMatrix);
extern int CVodeSetJacFn(void *, jacobian_function);
extern SUNNonlinearSolver SUNNonlinSol_FixedPoint(N_Vector, int, SUNContext);
extern int CVodeSetNonlinearSolver(void *, SUNNonlinearSolver);
extern int CVode(void *, double, N_Vector, double *, int);
extern int CVodeGetNumSteps(void *, long *);
extern int CVodeGetNumErrTestFails(void *, long *);
extern int CVodeGetNumRhsEvals(void *, long *);
extern int CVodeGetNumJacEvals(void *, long *);
enum { ADAMS = 1, BDF = 2, NORMAL = 1 };

static int field(double t, N_Vector y, N_Vector out, void *p)
{
    rhs(t, N_VGetArrayPointer(y), p, N_VGetArrayPointer(out));
    return 0;
}

/* CVODE hands over a matrix of zeros. */
static int jacobian(double t, N_Vector y, N_Vector f, SUNMatrix m, void *p, N_Vector a, N_Vector b, N_Vector c)
{
    double j[NNZ + 1];
    jac(t, N_VGetArrayPointer(y), p, j);
    for (int e = 0; e < NNZ; e++) {
        if (BANDED) SUNBandMatrix_Column(m, COL[e])[ROW[e] - COL[e]] = j[e];
        else SUNDenseMatrix_Column(m, COL[e])[ROW[e]] = j[e];
    }
    return 0;
}

/* BDF with Newton's method, Adams with functional iteration: what CVODE's authors advise. The memory is made once; later solves start it afresh with CVodeReInit, as a program would that solves often. */
static void *memory;
static N_Vector state;

static int prepare(double t0)
{
    SUNContext context;
    if (SUNContext_Create(0, &context)) return 1;
    state = N_VNew_Serial(N, context);
    memory = CVodeCreate(STIFF ? BDF : ADAMS, context);
    if (!state || !memory || CVodeInit(memory, field, t0, state) || CVodeSStolerances(memory, 1e-6, 1e-9)) return 1;
    if (!STIFF) {
        SUNNonlinearSolver iteration = SUNNonlinSol_FixedPoint(state, 0, context);
        return !iteration || CVodeSetNonlinearSolver(memory, iteration);
    }
    SUNMatrix m = BANDED ? SUNBandMatrix(N, MU, ML, context) : SUNDenseMatrix(N, N, context);
    SUNLinearSolver solver = BANDED ? SUNLinSol_Band(state, m, context) : SUNLinSol_Dense(state, m, context);
    return !m || !solver || CVodeSetLinearSolver(memory, solver, m) || CVodeSetJacFn(memory, jacobian);
}

int integrate(double t0, double t1, const double *y0, const double *p, int saves, const double *ts, double *ys,
              double rtol, double atol, long most, long *counts)
{
    if (!memory && prepare(t0)) return 4;
    memcpy(N_VGetArrayPointer(state), y0, N * sizeof(double));
    if (CVodeReInit(memory, t0, state) || CVodeSStolerances(memory, rtol, atol)) return 5;
    CVodeSetUserData(memory, (void *)p);
    CVodeSetMaxNumSteps(memory, most);
    for (int k = 0; k < saves; k++) {
        double reached;
        if (CVode(memory, ts[k], state, &reached, NORMAL) < 0) return 1;
        memcpy(ys + (long)k * N, N_VGetArrayPointer(state), N * sizeof(double));
    }
    long fails = 0;
    CVodeGetNumSteps(memory, counts + 1);
    CVodeGetNumErrTestFails(memory, &fails);
    counts[0] = counts[1] + fails;
    CVodeGetNumRhsEvals(memory, counts + 2);
    if (STIFF) CVodeGetNumJacEvals(memory, counts + 3);
    return 0;
}
