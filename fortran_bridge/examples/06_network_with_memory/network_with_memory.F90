!> A host that runs a network with memory: it hands the state from step to step, lets it begin again
!! after a step without the emulator, and goes on from a restart as if it had never stopped.
program network_with_memory
  use, intrinsic :: iso_fortran_env, only: output_unit, r8 => real64
  use climlink, only: climlink_emulator, climlink_host_fields
  use climlink_carried_state, only: climlink_carried
  implicit none (type, external)

  integer, parameter :: n_column = 8, n_step = 10, stop_at = 7
  integer, parameter :: pause = 4                    ! a step in which the emulator does not run

  !> All that this model must remember from one step to the next.
  type :: model
    integer :: step = 0
    real(r8) :: answer(n_column) = 0.0_r8
    real(r8) :: forcing(n_column) = 0.0_r8
    type(climlink_carried) :: carried
  end type model

  type(climlink_emulator) :: emu
  type(model), target :: whole, stopped, resumed
  real(r8), target :: initial(n_column)
  character(len=1024) :: package
  integer :: i

  call get_command_argument(1, package)
  call emu%open(package)
  initial = [(100.0_r8 * i, i=1, n_column)]

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
    type(model), target, intent(inout) :: self
    integer, intent(in) :: last
    type(climlink_host_fields) :: fields

    call fields%begin(n_column)                      ! what is carried stands in no table
    call fields%add_scalar('forcing', '1', self%forcing)
    call fields%add_scalar('initial', '1', initial)
    call fields%add_scalar('answer', '1', self%answer, taken=.true.)
    call fields%check(emu)
    do while (self%step < last)
      self%step = self%step + 1
      if (self%step == pause) then
        call self%carried%begin_again()              ! what was carried is of another time now
      else
        call emulate(self, fields)
      end if
      write (output_unit, '(a,i3,a,f9.1)') 'step', self%step, '  answer', self%answer(1)
    end do
  end subroutine advance

  !> The host's inputs from its table, those of the memory from its keeper.
  subroutine emulate(self, fields)
    type(model), intent(inout) :: self
    type(climlink_host_fields), intent(in) :: fields

    self%forcing = real(self%step, r8)
    call emu%begin(n_column)
    call fields%send(emu)
    if (self%carried%has_state()) call self%carried%send(emu)
    call emu%run()
    call fields%receive(emu)
    if (self%carried%has_state()) call self%carried%receive(emu)
  end subroutine emulate

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
