program e3sm
  use, intrinsic :: iso_fortran_env, only: output_unit
  implicit none
  interface
    subroutine run_atmosphere()
    end subroutine run_atmosphere
  end interface
  write (output_unit, '(a)') 'model starts'
  call run_atmosphere()
end program e3sm
