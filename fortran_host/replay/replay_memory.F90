!> The state that an emulator carries from one snapshot to the next. It goes on where the two are
!! one time step apart and have the same columns; else it begins, and the replay says so.
module replay_memory
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink, only: climlink_emulator, climlink_status
  use climlink_carried_state, only: climlink_carried
  use climsim_files, only: climsim_file, read_integer
  use host_calendar, only: model_time, seconds_between, time_of
  use replay_config, only: base_name
  implicit none (type, external)
  private

  public :: carried_memory

  type :: carried_memory
    type(climlink_carried) :: state
    character(len=:), allocatable :: origin          !! `from FILE`, or `begins: ` and why; or ''.
    type(model_time), private :: time                !! Of the last snapshot.
    integer, private :: n_column = 0                 !! Of the last snapshot; 0 before the first.
    character(len=:), allocatable, private :: name   !! File of the last snapshot.
  contains
    procedure :: follow, remark
  end type carried_memory

contains

  !> Takes up a snapshot before its step. error is '' or names the file and what is wrong with its
  !! date.
  subroutine follow(self, emulator, file, count, time_step, error)
    class(carried_memory), intent(inout) :: self
    type(climlink_emulator), intent(in) :: emulator
    type(climsim_file), intent(in) :: file
    integer, intent(in) :: count                     !! Columns of this rank.
    real(real64), intent(in) :: time_step            !! [s]
    character(len=:), allocatable, intent(out) :: error
    type(climlink_status) :: status
    type(model_time) :: time

    self%origin = ''
    error = ''
    if (emulator%carried_count() == 0) return
    call read_time(file, time, error)
    if (len(error) > 0) return
    if (self%n_column == 0) then
      self%origin = 'begins: first file'
    else if (self%n_column /= file%n_column) then
      self%origin = 'begins: ' // self%name // ' has other columns'
    else if (abs(real(seconds_between(self%time, time), real64) - time_step) > 0.0_real64) then
      self%origin = 'begins: ' // self%name // ' is not one time step earlier'
    else
      self%origin = 'from ' // self%name
    end if
    if (index(self%origin, 'begins') == 1) call self%state%initialize(emulator, count, status)
    if (.not. status%ok()) error = status%message
    self%time = time
    self%n_column = file%n_column
    self%name = base_name(file%path)
  end subroutine follow

  !> What the line of a step says of the state; '' where it goes on, or there is none.
  pure function remark(self) result(text)
    class(carried_memory), intent(in) :: self
    character(len=:), allocatable :: text

    text = ''
    if (index(self%origin, 'begins') == 1) text = ' (carried state ' // self%origin // ')'
  end function remark

  subroutine read_time(file, time, error)
    type(climsim_file), intent(in) :: file
    type(model_time), intent(out) :: time
    character(len=:), allocatable, intent(out) :: error
    integer :: date, second

    call read_integer(file, 'ymd', date, error)
    if (len(error) == 0) call read_integer(file, 'tod', second, error)
    if (len(error) > 0) return
    call time_of(date, second, time, error)
    if (len(error) > 0) error = file%path // ': ' // error
  end subroutine read_time

end module replay_memory
