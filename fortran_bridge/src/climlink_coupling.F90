!> When an emulator runs, and how much of it a host applies: spin-up, partial coupling by output
!! variable, ramps, shadow mode.
!!
!! Every answer is a function of the step number that the host counts from the start of its case and
!! keeps in its restart. So nothing here has a memory of its own, and a restart neither repeats a
!! spin-up nor shifts a ramp.
!!
!! For users of E3SM's mmf_nn_emulator_nl: spin_up_steps is cb_spinup_step, mode partial is
!! cb_partial_coupling, variables is cb_partial_coupling_vars, ramp is cb_do_ramp with
!! cb_ramp_option, ramp_factor, ramp_steps, ramp_off_steps and ramp_on_steps are cb_ramp_factor,
!! cb_ramp_linear_steps, cb_ramp_step_0steps and cb_ramp_step_1steps. The step ramp is on for
!! ramp_on_steps of every ramp_off_steps + ramp_on_steps; there it was on for one step more. A
!! linear ramp begins with ramp_factor / ramp_steps in the first step of the emulator.
module climlink_coupling
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink_emulators, only: climlink_emulator
  use climlink_errors, only: climlink_error_argument, climlink_error_variable, climlink_status, &
                             failure
  use climlink_parallel, only: process_rank
  implicit none (type, external)
  private

  public :: climlink_coupling_policy, climlink_blend, coupling_entries

  integer, parameter :: name_length = 256

  !> What hosts set, each by an entry of its own namelist.
  type :: coupling_entries
    character(len=name_length) :: mode = 'full'                 !! full, partial or shadow
    character(len=name_length) :: feedback = 'reference'        !! In shadow mode, which feeds back:
                                                                !! reference or emulator.
    integer :: spin_up_steps = 0                                !! Steps of the reference alone
                                                                !! before the emulator starts.
    character(len=name_length) :: ramp = 'constant'             !! constant, linear or step
    real(real64) :: ramp_factor = 1.0_real64                    !! Weight of the emulator, of the
                                                                !! ramp where it is highest.
    integer :: ramp_steps = 0                                   !! linear: steps until the weight is
                                                                !! ramp_factor.
    integer :: ramp_on_steps = 0                                !! step: steps with the emulator,
                                                                !! the first of each period.
    integer :: ramp_off_steps = 0                               !! step: steps without it.
  end type coupling_entries

  type, extends(coupling_entries) :: climlink_coupling_policy
    character(len=name_length), allocatable :: variables(:)     !! Outputs blended in partial mode;
                                                                !! else the reference's.
  contains
    procedure :: check, weight, weight_of, needs_reference, needs_emulator, is_shadow
  end type climlink_coupling_policy

contains

  !> Fails if an entry makes no sense, would be ignored, or names a variable that is no output of
  !! the emulator.
  subroutine check(self, emulator, status)
    class(climlink_coupling_policy), intent(in) :: self
    type(climlink_emulator), intent(in) :: emulator               !! Open.
    type(climlink_status), intent(out) :: status
    integer :: i, n_variable

    status%message = ''
    n_variable = 0
    if (allocated(self%variables)) n_variable = size(self%variables)
    if (all(self%mode /= [character(len=7) :: 'full', 'partial', 'shadow'])) then
      call refuse("mode must be full, partial or shadow, not '" // trim(self%mode) // "'")
    else if (all(self%feedback /= [character(len=9) :: 'reference', 'emulator'])) then
      call refuse("feedback must be reference or emulator, not '" // trim(self%feedback) // "'")
    else if (all(self%ramp /= [character(len=8) :: 'constant', 'linear', 'step'])) then
      call refuse("ramp must be constant, linear or step, not '" // trim(self%ramp) // "'")
    else if (.not. (self%ramp_factor >= 0.0_real64 .and. self%ramp_factor <= 1.0_real64)) then
      call refuse('ramp_factor must be between 0 and 1')
    else if (self%spin_up_steps < 0) then
      call refuse('spin_up_steps must be 0 or more')
    else if (self%ramp == 'linear' .and. self%ramp_steps < 1) then
      call refuse('a linear ramp needs ramp_steps of 1 or more')
    else if (self%ramp == 'step' .and. (self%ramp_on_steps < 1 .or. self%ramp_off_steps < 0)) then
      call refuse('a step ramp needs ramp_on_steps of 1 or more and ramp_off_steps of 0 or more')
    else if (self%mode == 'shadow' &
             .and. (self%ramp /= 'constant' .or. self%ramp_factor < 1.0_real64)) then
      call refuse('shadow mode applies the whole answer of one side: leave out the ramp')
    else if (self%mode == 'partial' .and. n_variable == 0) then
      call refuse('partial coupling needs variables: the outputs to blend')
    else if (self%mode /= 'partial' .and. n_variable > 0) then
      call refuse("variables are for mode partial, not '" // trim(self%mode) // "'")
    else
      do i = 1, n_variable
        if (.not. emulator%has_output(trim(self%variables(i)))) call unknown( &
          trim(self%variables(i)))
        if (.not. status%ok()) return
      end do
    end if

  contains

    subroutine refuse(message)
      character(len=*), intent(in) :: message

      status = failure(climlink_error_argument, process_rank(), 'coupling: ' // message)
    end subroutine refuse

    subroutine unknown(name)
      character(len=*), intent(in) :: name
      character(len=:), allocatable :: known
      integer :: k

      known = ''
      do k = 1, emulator%n_output()
        known = known // ' ' // emulator%output_name(k)
      end do
      status = failure(climlink_error_variable, process_rank(), &
                       "coupling: the package has no output '" // name // "' to blend; it has" &
                       // known)
    end subroutine unknown
  end subroutine check

  !> Weight of the emulator in a step, counted from 1 at the start of the case: what the ramp says
  !! after the spin-up, else 0.
  pure function weight(self, step)
    class(climlink_coupling_policy), intent(in) :: self
    integer, intent(in) :: step
    real(real64) :: weight
    integer :: n

    weight = 0.0_real64
    n = step - self%spin_up_steps
    if (n < 1) return
    select case (self%ramp)
    case ('linear')
      weight = self%ramp_factor * min(1.0_real64, real(n, real64) / real(self%ramp_steps, real64))
    case ('step')
      if (modulo(n - 1, self%ramp_on_steps + self%ramp_off_steps) < self%ramp_on_steps) weight = &
        self%ramp_factor
    case default
      weight = self%ramp_factor
    end select
  end function weight

  !> Weight with which the emulator's value of one output is applied in a step. In shadow mode one
  !! side is applied whole.
  pure function weight_of(self, variable, step) result(applied)
    class(climlink_coupling_policy), intent(in) :: self
    character(len=*), intent(in) :: variable
    integer, intent(in) :: step
    real(real64) :: applied

    applied = self%weight(step)
    if (self%mode == 'shadow') applied = merge(1.0_real64, 0.0_real64, self%feedback == 'emulator' &
                                               .and. step > self%spin_up_steps)
    if (self%mode == 'partial') then
      if (.not. any(self%variables == variable)) applied = 0.0_real64
    end if
  end function weight_of

  !> Whether the host runs its own physics in a step.
  pure function needs_reference(self, step) result(yes)
    class(climlink_coupling_policy), intent(in) :: self
    integer, intent(in) :: step
    logical :: yes

    yes = self%mode /= 'full' .or. self%weight(step) < 1.0_real64
  end function needs_reference

  !> Whether the emulator runs in a step.
  pure function needs_emulator(self, step) result(yes)
    class(climlink_coupling_policy), intent(in) :: self
    integer, intent(in) :: step
    logical :: yes

    yes = step > self%spin_up_steps &
      .and. (self%mode == 'shadow' .or. self%weight(step) > 0.0_real64)
  end function needs_emulator

  !> Whether both run in a step and one of them is only recorded.
  pure function is_shadow(self, step) result(yes)
    class(climlink_coupling_policy), intent(in) :: self
    integer, intent(in) :: step
    logical :: yes

    yes = self%mode == 'shadow' .and. step > self%spin_up_steps
  end function is_shadow

  !> reference (1 - weight) + emulated weight, element by element; exactly one of both at weights 0
  !! and 1.
  elemental function climlink_blend(reference, emulated, weight) result(blended)
    real(real64), intent(in) :: reference, emulated, weight
    real(real64) :: blended

    if (weight <= 0.0_real64) then
      blended = reference
    else if (weight >= 1.0_real64) then
      blended = emulated
    else
      blended = (1.0_real64 - weight) * reference + weight * emulated
    end if
  end function climlink_blend

end module climlink_coupling
