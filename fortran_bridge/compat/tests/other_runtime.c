/* A thread runtime that is not libtorch's, as far as libtorch calls one from outside a parallel
 * region: OpenMP's number of threads and MKL's. A host that is linked with it before libtorch has
 * libtorch's own calls bound here, as those to Intel's or LLVM's runtime are. changes() tells how
 * often a number was set to another one, so that a test can show that libtorch was here. */
static __thread int openmp_threads = 5;
static __thread int mkl_threads = 6;
static __thread int changed = 0;

int omp_get_max_threads(void);
void omp_set_num_threads(int threads);
int MKL_Set_Num_Threads_Local(int threads);
int mkl_thread_count(void);
int changes(void);

int omp_get_max_threads(void) { return openmp_threads; }

void omp_set_num_threads(int threads) {
  changed += threads != openmp_threads;
  openmp_threads = threads;
}

int MKL_Set_Num_Threads_Local(int threads) {
  const int before = mkl_threads;
  changed += threads != before && threads != 0;
  mkl_threads = threads;
  return before;
}

int mkl_thread_count(void) { return mkl_threads; }

int changes(void) { return changed; }
