!> Interfaces of the routines of BLAS and LAPACK that the dynamics use.
module aqua_blas
  use aqua_constants, only: r8
  implicit none (type, external)
  private

  public :: dgemm, dgesv

  interface
    !> c = alpha op(a) op(b) + beta c.
    subroutine dgemm(transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
      import :: r8
      implicit none (type, external)
      character, intent(in) :: transa, transb
      integer, intent(in) :: m, n, k, lda, ldb, ldc
      real(r8), intent(in) :: alpha, beta, a(*), b(*)
      real(r8), intent(inout) :: c(*)
    end subroutine dgemm

    !> Solves a x = b, x in place of b.
    subroutine dgesv(n, nrhs, a, lda, ipiv, b, ldb, info)
      import :: r8
      implicit none (type, external)
      integer, intent(in) :: n, nrhs, lda, ldb
      real(r8), intent(inout) :: a(lda, *), b(ldb, *)
      integer, intent(out) :: ipiv(*), info
    end subroutine dgesv
  end interface

end module aqua_blas
