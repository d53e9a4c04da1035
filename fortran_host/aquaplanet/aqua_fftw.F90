!> The Fortran 2003 interface of FFTW, which comes as an include file.
module aqua_fftw
  use, intrinsic :: iso_c_binding
  implicit none

  include 'fftw3.f03'
end module aqua_fftw
