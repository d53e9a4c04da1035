! Stand-ins of EAM's small modules.
module shr_kind_mod
  use, intrinsic :: iso_fortran_env, only: real64
  implicit none
  integer, parameter :: shr_kind_r8 = real64
end module shr_kind_mod

module ppgrid
  implicit none
  integer :: pcols = -1
  integer, parameter :: psubcols = PSUBCOLS
  integer, parameter :: pver = PLEV
  integer, parameter :: pverp = pver + 1
  integer :: begchunk = 0
  integer :: endchunk = -1
end module ppgrid

! Pressures of the model's levels at the reference surface pressure [Pa].
module ref_pres
  use ppgrid, only: pver
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none
  real(r8) :: pref_mid(pver)
end module ref_pres

module cam_abortutils
  implicit none
contains
  subroutine endrun(string)
    use, intrinsic :: iso_fortran_env, only: error_unit
    use mpi_f08, only: MPI_Abort, MPI_COMM_WORLD
    character(len=*), intent(in), optional :: string

    if (present(string)) write (error_unit, '(2a)') 'ENDRUN: ', string
    flush (error_unit)
    call MPI_Abort(MPI_COMM_WORLD, 1001)
  end subroutine endrun
end module cam_abortutils

module constituents
  implicit none
  integer, parameter :: pcnst = 5
  character(len=16), parameter :: cnst_name(pcnst) = [character(len=16) :: 'Q', 'NUMLIQ', &
    'CLDLIQ', 'NUMICE', 'CLDICE']
contains
  subroutine cnst_get_ind(name, ind, abrtf)
    use cam_abortutils, only: endrun
    character(len=*), intent(in) :: name
    integer, intent(out) :: ind
    logical, optional, intent(in) :: abrtf
    logical :: abort_on_error

    ind = findloc(cnst_name, name, dim=1)
    abort_on_error = .true.
    if (present(abrtf)) abort_on_error = abrtf
    if (ind > 0) return
    if (abort_on_error) call endrun('CNST_GET_IND, name: ' // name)
    ind = -1
  end subroutine cnst_get_ind
end module constituents

module spmd_utils
  implicit none
  logical :: masterproc = .false.
  integer :: iam = 0
  integer :: npes = 1
  integer :: mpicom = 0
end module spmd_utils

module mpishorthand
  implicit none
  integer :: mpiint, mpilog, mpir8, mpichar, mpicom
end module mpishorthand

! External, without an interface, as in EAM. The adapter gives it characters.
subroutine mpibcast(buffer, count, datatype, root, comm)
  use mpi_f08, only: MPI_Bcast, MPI_Comm, MPI_Datatype
  implicit none
  character(len=1), intent(inout) :: buffer(*)
  integer, intent(in) :: count, datatype, root, comm

  call MPI_Bcast(buffer, count, MPI_Datatype(datatype), root, MPI_Comm(comm))
end subroutine mpibcast

! External too.
subroutine mpiallmaxint(sendbuf, recvbuf, count, comm)
  use mpi_f08, only: MPI_Allreduce, MPI_Comm, MPI_INTEGER, MPI_MAX
  implicit none
  integer, intent(in) :: count, comm
  integer, intent(in) :: sendbuf(count)
  integer, intent(out) :: recvbuf(count)

  call MPI_Allreduce(sendbuf, recvbuf, count, MPI_INTEGER, MPI_MAX, MPI_Comm(comm))
end subroutine mpiallmaxint

! And this one. The model gives it reals of its own kind alone.
subroutine mpisum(sendbuf, recvbuf, cnt, datatype, root, comm)
  use mpi_f08, only: MPI_Comm, MPI_Datatype, MPI_Reduce, MPI_SUM
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none
  integer, intent(in) :: cnt, datatype, root, comm
  real(r8), intent(in) :: sendbuf(cnt)
  real(r8), intent(out) :: recvbuf(cnt)

  call MPI_Reduce(sendbuf, recvbuf, cnt, MPI_Datatype(datatype), MPI_SUM, root, MPI_Comm(comm))
end subroutine mpisum

module cam_logfile
  use, intrinsic :: iso_fortran_env, only: output_unit
  implicit none
  integer :: iulog = output_unit
end module cam_logfile

module string_utils
  implicit none
contains
  function to_lower(str)
    character(len=*), intent(in) :: str
    character(len=len(str)) :: to_lower
    integer :: i

    to_lower = str
    do i = 1, len(str)
      if (str(i:i) >= 'A' .and. str(i:i) <= 'Z') to_lower(i:i) = achar(iachar(str(i:i)) + 32)
    end do
  end function to_lower
end module string_utils

module units
  implicit none
contains
  integer function getunit(iu)
    integer, intent(in), optional :: iu

    getunit = 91
    if (present(iu)) getunit = iu
  end function getunit

  subroutine freeunit(iu)
    integer, intent(in) :: iu

    if (iu < 0) error stop 'freeunit: no unit'
  end subroutine freeunit
end module units

module namelist_utils
  implicit none
contains
  ! Leaves the unit before the group, or gives a status that is not 0.
  subroutine find_group_name(unit, group, status)
    use string_utils, only: to_lower
    integer, intent(in) :: unit
    character(len=*), intent(in) :: group
    integer, intent(out) :: status
    character(len=80) :: line

    do
      read (unit, '(a)', iostat=status) line
      if (status /= 0) return
      line = adjustl(to_lower(line))
      if (line == '&' // group) exit
    end do
    backspace (unit)
  end subroutine find_group_name
end module namelist_utils

module physconst
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none
  real(r8), protected :: gravit = 9.80616_r8
  real(r8), protected :: cpair = 1004.64_r8
  real(r8), protected :: rair = 287.04231_r8
  real(r8), protected :: zvir = 0.60779_r8
  real(r8), protected :: latvap = 2.501e6_r8
  real(r8), protected :: latice = 3.337e5_r8
  real(r8), protected :: rhoh2o = 1000.0_r8
end module physconst

module time_manager
  implicit none
  integer, public :: standin_nstep = 0
  integer, public :: standin_dtime = 1200
  integer, public :: standin_first_of_run = 0
  logical, public :: standin_is_restart = .false.
contains
  integer function get_nstep()
    get_nstep = standin_nstep
  end function get_nstep

  integer function get_step_size()
    get_step_size = standin_dtime
  end function get_step_size

  function get_curr_calday(offset)
    use shr_kind_mod, only: r8 => shr_kind_r8
    integer, optional, intent(in) :: offset
    real(r8) :: get_curr_calday

    get_curr_calday = 1.0_r8 + standin_nstep * standin_dtime / 86400.0_r8
    if (present(offset)) get_curr_calday = get_curr_calday + offset / 86400.0_r8
  end function get_curr_calday

  logical function is_first_step()
    is_first_step = standin_nstep == 0
  end function is_first_step

  logical function is_first_restart_step()
    is_first_restart_step = standin_is_restart .and. standin_nstep == standin_first_of_run
  end function is_first_restart_step
end module time_manager

module perf_mod
  implicit none
  character(len=32) :: running = ' '
contains
  subroutine t_startf(event, handle)
    character(len=*), intent(in) :: event
    integer, intent(in), optional :: handle

    if (present(handle)) error stop 't_startf: a handle'
    if (running /= ' ') error stop 't_startf: a timer runs'
    running = event
  end subroutine t_startf

  subroutine t_stopf(event, handle)
    character(len=*), intent(in) :: event
    integer, intent(in), optional :: handle

    if (present(handle)) error stop 't_stopf: a handle'
    if (running /= event) error stop 't_stopf: another timer runs'
    running = ' '
  end subroutine t_stopf
end module perf_mod

module cam_control_mod
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none
  integer :: nsrest = 0    ! 0 initial, 1 restart, 3 branch
  real(r8) :: eccen = 0.0625_r8, obliqr = 0.4_r8, lambm0 = 0.01_r8, mvelpp = 0.125_r8
end module cam_control_mod

module cam_history_support
  implicit none
  integer, parameter :: pflds = 1000
  integer, parameter :: fieldname_len = 34
  integer, parameter :: fieldname_lenp2 = fieldname_len + 2
end module cam_history_support
