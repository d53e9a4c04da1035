!> A host that lets its own physics spin up, fades the emulator in, keeps its lagged inputs, and
!! goes on from a restart as if it had never stopped.
program coupling_and_lagged_inputs
  use, intrinsic :: iso_fortran_env, only: output_unit, r8 => real64
  use climlink, only: climlink_emulator, climlink_host_fields, climlink_status
  use climlink_coupling, only: climlink_blend, climlink_coupling_policy
  use climlink_lagged_memory, only: climlink_lags
  implicit none (type, external)

  integer, parameter :: n_column = 8, n_level = 6, n_step = 10, stop_at = 6
  real(r8), parameter :: time_step = 1200.0_r8

  !> What does not change in this model.
  real(r8), target :: water(n_column, n_level) = 1e-3_r8, wind(n_column, n_level) = 5.0_r8, &
                      surface(n_column) = 100.0_r8
  character(len=*), parameter :: waters(3) = ['state_q0001', 'state_q0002', 'state_q0003']
  character(len=*), parameter :: surface_names(5) = [character(len=11) :: 'state_ps', &
    'pbuf_SOLIN', 'pbuf_LHFLX', 'pbuf_SHFLX', 'pbuf_COSZRS']
  character(len=*), parameter :: surface_units(5) = [character(len=4) :: 'Pa', 'W/m2', 'W/m2', &
    'W/m2', '1']

  !> All that this model must remember from one step to the next.
  type :: model
    integer :: step = 0
    real(r8) :: t(n_column, n_level) = 260.0_r8
    real(r8) :: tendency(n_column, n_level) = 0.0_r8               !! The emulator's.
    type(climlink_lags) :: lags
  end type model

  type(climlink_emulator) :: emu
  type(climlink_coupling_policy) :: policy
  type(climlink_status) :: status
  type(model), target :: whole, stopped, resumed
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
    type(model), target, intent(inout) :: self
    type(climlink_host_fields) :: fields

    call self%lags%initialize(n_column, n_level, time_step)
    call declare(self, fields)
    call fields%check(emu, spin_up_steps=policy%spin_up_steps)
  end subroutine start

  !> What this model has and wants; the lagged inputs come from their memory.
  subroutine declare(self, fields)
    type(model), target, intent(in) :: self
    type(climlink_host_fields), intent(out) :: fields
    integer :: i

    call fields%begin(n_column)
    call fields%add_profile('state_t', 'K', self%t)
    do i = 1, 3
      call fields%add_profile(waters(i), 'kg/kg', water)
    end do
    call fields%add_profile('state_u', 'm/s', wind)
    do i = 1, size(surface_names)
      call fields%add_scalar(surface_names(i), surface_units(i), surface)
    end do
    call self%lags%add_to(fields)
    call fields%add_profile('ptend_t', 'K/s', self%tendency, taken=.true.)
  end subroutine declare

  !> Steps from where the model is to the last one.
  subroutine advance(self, last)
    type(model), target, intent(inout) :: self
    integer, intent(in) :: last
    type(climlink_host_fields) :: fields
    real(r8) :: reference(n_column, n_level), applied(n_column, n_level)

    call declare(self, fields)
    do while (self%step < last)
      self%step = self%step + 1
      self%t = self%t + time_step * 1e-5_r8                        ! the dynamics
      call self%lags%begin_step(fields)
      if (policy%needs_reference(self%step)) reference = (250.0_r8 - self%t) / 86400.0_r8
      if (policy%needs_emulator(self%step)) call emulate(fields)
      applied = climlink_blend(reference, self%tendency, policy%weight_of('ptend_t', self%step))
      self%t = self%t + time_step * applied
      call self%lags%end_step(fields)               ! what was applied, whoever made it
      write (output_unit, '(a,i3,a,f5.2,a,f9.4,a)') 'step', self%step, '  weight', &
        policy%weight_of('ptend_t', self%step), '  temperature', self%t(1, 1), ' K'
    end do
  end subroutine advance

  subroutine emulate(fields)
    type(climlink_host_fields), intent(in) :: fields

    call emu%begin(n_column)
    call fields%send(emu)
    call emu%run()
    call fields%receive(emu)
  end subroutine emulate

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
