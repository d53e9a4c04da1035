!> The Fortran 2003 interface of FFTW, which comes as an include file and declares everything
!! itself.
module aqua_fftw
  use, intrinsic :: iso_c_binding
  implicit none
  public

  include 'fftw3.f03'
end module aqua_fftw
