!> A host that lets its own physics spin up, fades the emulator in, keeps its lagged inputs, and
!! goes on from a restart as if it had never stopped.
program coupling_and_lagged_inputs
  use, intrinsic :: iso_fortran_env, only: output_unit, r8 => real64
  use climlink, only: climlink_emulator, climlink_status
  use climlink_coupling, only: climlink_blend, climlink_coupling_policy
  use climlink_lagged_memory, only: climlink_lags
  implicit none (type, external)

  integer, parameter :: n_column = 8, n_level = 6, n_step = 10, stop_at = 6
  real(r8), parameter :: time_step = 1200.0_r8

  !> All that this model must remember from one step to the next.
  type :: model
    integer :: step = 0
    real(r8) :: t(n_column, n_level) = 260.0_r8
    type(climlink_lags) :: lags
  end type model

  type(climlink_emulator) :: emu
  type(climlink_coupling_policy) :: policy
  type(climlink_status) :: status
  type(model) :: whole, stopped, resumed
  character(len=1024) :: package

  call get_command_argument(1, package)
  call emu%open(package, n_level=n_level, time_step=time_step)

  ! Three steps of the reference alone, then the emulator's temperature tendency with weights 1/4,
  ! 2/4, 3/4 and 1.
  policy%spin_up_steps = 3
  policy%mode = 'partial'
  policy%variables = ['ptend_t']
  policy%ramp = 'linear'
  policy%ramp_steps = 4
  call policy%check(emu, status)
  if (.not. status%ok()) error stop 'the policy does not suit the package'

  call start(whole)
  call advance(whole, n_step)

  call start(stopped)
  call advance(stopped, stop_at)
  call start(resumed)
  call restart(stopped, resumed)
  call advance(resumed, n_step)
  call emu%close()

  write (output_unit, '(a,f9.4,a)') 'temperature after ten steps in one go: ', whole%t(1, 1), ' K'
  write (output_unit, '(a,f9.4,a)') 'temperature after six and four steps:  ', resumed%t(1, 1), ' K'
  if (any(abs(whole%t - resumed%t) > 0.0_r8)) error stop 'a restart changed the result'

contains

  subroutine start(self)
    type(model), intent(inout) :: self

    call self%lags%initialize(n_column, n_level, time_step)
  end subroutine start

  !> Steps from where the model is to the last one.
  subroutine advance(self, last)
    type(model), intent(inout) :: self
    integer, intent(in) :: last
    real(r8) :: reference(n_column, n_level), emulated(n_column, n_level), &
                applied(n_column, n_level), water(n_column, n_level, 3)
    real(r8) :: wind(n_column, n_level), surface(n_column, 5)

    water = 1e-3_r8
    wind = 5.0_r8
    emulated = 0.0_r8
    surface = 100.0_r8                                             ! ps, SOLIN, LHFLX, SHFLX, COSZRS
    do while (self%step < last)
      self%step = self%step + 1
      self%t = self%t + time_step * 1e-5_r8                        ! the dynamics
      call self%lags%begin_step(self%t, water, wind, surface)
      if (policy%needs_reference(self%step)) reference = (250.0_r8 - self%t) / 86400.0_r8
      if (policy%needs_emulator(self%step)) call emulate(self, emulated)
      applied = climlink_blend(reference, emulated, policy%weight_of('ptend_t', self%step))
      self%t = self%t + time_step * applied
      call self%lags%end_step(self%t, water, wind)  ! what was applied, whoever made it
      write (output_unit, '(a,i3,a,f5.2,a,f9.4,a)') 'step', self%step, '  weight', &
        policy%weight_of('ptend_t', self%step), '  temperature', self%t(1, 1), ' K'
    end do
  end subroutine advance

  !> Every input by name: the lagged ones from the memory, the others from the model.
  subroutine emulate(self, tendency)
    type(model), intent(in) :: self
    real(r8), intent(out) :: tendency(n_column, n_level)
    integer :: i

    call emu%begin(n_column)
    do i = 1, emu%n_input()
      call send(self, emu%input_name(i))
    end do
    call emu%run()
    call emu%get('ptend_t', tendency, 1)
  end subroutine emulate

  subroutine send(self, name)
    type(model), intent(in) :: self
    character(len=*), intent(in) :: name
    real(r8) :: values(n_column, max(1, self%lags%width(name)))

    if (self%lags%has(name)) then
      call self%lags%get(name, values)
      call emu%set(name, values, 1)
    else if (name == 'state_t') then
      call emu%set(name, self%t, 1)
    else
      error stop 'this host does not have what the package wants'
    end if
  end subroutine send

  !> Writes one model to a file and reads another from it. Each column of the buffer stands for one
  !! column of the model, so a model that runs on many ranks gathers them, and may read them on any
  !! other number of ranks.
  subroutine restart(from, to)
    type(model), intent(in) :: from
    type(model), intent(inout) :: to
    real(r8) :: buffer(from%lags%state_size(), n_column)
    integer :: unit

    open (newunit=unit, status='scratch', form='unformatted', action='readwrite')
    call from%lags%pack_state(buffer)
    write (unit) from%step, from%t, buffer
    rewind (unit)
    read (unit) to%step, to%t, buffer
    close (unit)
    call to%lags%unpack_state(buffer)
  end subroutine restart

end program coupling_and_lagged_inputs
