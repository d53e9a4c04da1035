!> A host that runs a network with memory: it hands the state from step to step, lets it begin again
!! after a step without the emulator, and goes on from a restart as if it had never stopped.
program network_with_memory
  use, intrinsic :: iso_fortran_env, only: output_unit, r8 => real64
  use climlink, only: climlink_emulator
  use climlink_carried_state, only: climlink_carried
  implicit none (type, external)

  integer, parameter :: n_column = 8, n_step = 10, stop_at = 7
  integer, parameter :: pause = 4                    ! a step in which the emulator does not run

  !> All that this model must remember from one step to the next.
  type :: model
    integer :: step = 0
    real(r8) :: answer(n_column) = 0.0_r8
    type(climlink_carried) :: carried
  end type model

  type(climlink_emulator) :: emu
  type(model) :: whole, stopped, resumed
  character(len=1024) :: package

  call get_command_argument(1, package)
  call emu%open(package)

  call whole%carried%initialize(emu, n_column)       ! once, after open: every column begins
  call advance(whole, n_step)

  call stopped%carried%initialize(emu, n_column)
  call advance(stopped, stop_at)
  call resumed%carried%initialize(emu, n_column)
  call restart(stopped, resumed)
  call advance(resumed, n_step)
  call emu%close()

  write (output_unit, '(a,f9.1)') 'answer after ten steps in one go:      ', whole%answer(1)
  write (output_unit, '(a,f9.1)') 'answer after seven and three steps:    ', resumed%answer(1)
  if (any(abs(whole%answer - resumed%answer) > 0.0_r8)) error stop 'a restart changed the result'

contains

  !> Steps from where the model is to the last one.
  subroutine advance(self, last)
    type(model), intent(inout) :: self
    integer, intent(in) :: last

    do while (self%step < last)
      self%step = self%step + 1
      if (self%step == pause) then
        call self%carried%begin_again()              ! what was carried is of another time now
      else
        call emulate(self)
      end if
      write (output_unit, '(a,i3,a,f9.1)') 'step', self%step, '  answer', self%answer(1)
    end do
  end subroutine advance

  !> Every input by name: those of the memory from its keeper, the others from the model.
  subroutine emulate(self)
    type(model), intent(inout) :: self
    character(len=:), allocatable :: name
    integer :: i

    call emu%begin(n_column)
    do i = 1, emu%n_input()
      name = emu%input_name(i)
      if (.not. self%carried%owns(name)) call emu%set(name, own_value(self, name), 1)
    end do
    if (self%carried%has_state()) call self%carried%send(emu)
    call emu%run()
    call emu%get('answer', self%answer, 1)
    if (self%carried%has_state()) call self%carried%receive(emu)
  end subroutine emulate

  !> What this model has under a name, [column].
  function own_value(self, name) result(values)
    type(model), intent(in) :: self
    character(len=*), intent(in) :: name
    real(r8) :: values(n_column)
    integer :: i

    select case (name)
    case ('forcing')
      values = real(self%step, r8)
    case ('initial')
      values = [(100.0_r8 * i, i=1, n_column)]
    case default
      error stop 'this host does not have what the package wants'
    end select
  end function own_value

  !> Writes one model to a file and reads another from it. Each column of the buffer stands for one
  !! column of the model, so a model that runs on many ranks gathers them, and may read them on any
  !! other number of ranks.
  subroutine restart(from, to)
    type(model), intent(in) :: from
    type(model), intent(inout) :: to
    real(r8) :: buffer(from%carried%state_size(), n_column)
    integer :: unit

    open (newunit=unit, status='scratch', form='unformatted', action='readwrite')
    call from%carried%pack_state(buffer)
    write (unit) from%step, from%answer, buffer
    rewind (unit)
    read (unit) to%step, to%answer, buffer
    close (unit)
    call to%carried%unpack_state(buffer)
  end subroutine restart

end program network_with_memory
