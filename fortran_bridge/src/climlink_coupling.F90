!> When an emulator runs, and how much of it a host applies: spin-up, partial coupling by output
!! variable and level, ramps, shadow mode.
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
  use climlink_level_lists, only: find_levels, has_level_list, listed_name
  use climlink_parallel, only: process_rank
  use climlink_run_options, only: number_text
  use climlink_variables, only: climlink_variable
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

  !> The name in variables that stands for every output.
  character(len=*), parameter :: every_output = 'all'

  type, extends(coupling_entries) :: climlink_coupling_policy
    !> Outputs blended in partial mode, or 'all', each with the levels where it is or without:
    !! ptend_t(20:60), all(10 hPa:). An output's own entry goes before 'all'. What is not named is
    !! the reference's.
    character(len=name_length), allocatable :: variables(:)
    !> Of the host's levels, top down, at a surface pressure of 1e5 Pa [Pa]. A host without levels
    !! leaves it out.
    real(real64), allocatable :: reference_pressure(:)
  contains
    procedure :: problem, check, weight, weight_of, level_weights
    procedure :: needs_reference, needs_emulator, is_shadow
    procedure, private :: place_of
  end type climlink_coupling_policy

contains

  !> '' if the entries make sense and none would be ignored, whatever the package; else what is
  !! wrong.
  pure function problem(self)
    class(climlink_coupling_policy), intent(in) :: self
    character(len=:), allocatable :: problem
    integer :: n_variable

    n_variable = 0
    if (allocated(self%variables)) n_variable = size(self%variables)
    problem = ''
    if (all(self%mode /= [character(len=7) :: 'full', 'partial', 'shadow'])) then
      problem = "mode must be full, partial or shadow, not '" // trim(self%mode) // "'"
    else if (all(self%feedback /= [character(len=9) :: 'reference', 'emulator'])) then
      problem = "feedback must be reference or emulator, not '" // trim(self%feedback) // "'"
    else if (all(self%ramp /= [character(len=8) :: 'constant', 'linear', 'step'])) then
      problem = "ramp must be constant, linear or step, not '" // trim(self%ramp) // "'"
    else if (.not. (self%ramp_factor >= 0.0_real64 .and. self%ramp_factor <= 1.0_real64)) then
      problem = 'ramp_factor must be between 0 and 1'
    else if (self%spin_up_steps < 0) then
      problem = 'spin_up_steps must be 0 or more'
    else if (self%ramp == 'linear' .and. self%ramp_steps < 1) then
      problem = 'a linear ramp needs ramp_steps of 1 or more'
    else if (self%ramp == 'step' .and. (self%ramp_on_steps < 1 .or. self%ramp_off_steps < 0)) then
      problem = 'a step ramp needs ramp_on_steps of 1 or more and ramp_off_steps of 0 or more'
    else if (self%mode == 'shadow' &
             .and. (self%ramp /= 'constant' .or. self%ramp_factor < 1.0_real64)) then
      problem = 'shadow mode applies the whole answer of one side: leave out the ramp'
    else if (self%mode == 'partial' .and. n_variable == 0) then
      problem = 'partial coupling needs variables: the outputs to blend'
    else if (self%mode /= 'partial' .and. n_variable > 0) then
      problem = "variables are for mode partial, not '" // trim(self%mode) // "'"
    else if (n_variable > 0) then
      problem = problem_of_levels(self)
    end if
  end function problem

  !> '' or which entry of variables names levels that the host has not, or is one too many.
  pure function problem_of_levels(self) result(problem)
    class(climlink_coupling_policy), intent(in) :: self
    character(len=:), allocatable :: problem
    real(real64), allocatable :: pressure(:)
    logical, allocatable :: chosen(:)
    character(len=name_length) :: names(size(self%variables))
    logical :: has_list(size(self%variables))
    character(len=32) :: ends
    integer :: i

    allocate (pressure(0))
    if (allocated(self%reference_pressure)) pressure = self%reference_pressure
    allocate (chosen(size(pressure)))
    problem = ''
    names = listed_name(self%variables)
    has_list = has_level_list(self%variables)
    do i = 1, size(names)
      if (any(names(:i - 1) == names(i) .and. (has_list(:i - 1) .or. has_list(i)))) then
        problem = trim(names(i)) // ' is listed twice: put all its levels into one entry, as ' &
                  // trim(names(i)) // '(1:5,20:60)'
      else if (has_list(i) .and. size(pressure) == 0) then
        problem = trim(self%variables(i)) // ': this host has no levels to choose from'
      else if (has_list(i)) then
        call find_levels(self%variables(i), pressure, chosen, problem)
        if (len(problem) == 0) cycle
        write (ends, '(f0.2,a,i0)') pressure(1), ' to ', nint(pressure(size(pressure)))
        problem = trim(self%variables(i)) // ': ' // problem // '. The host has levels 1 to ' // &
                  number_text(size(pressure)) // ', at reference pressures of ' // trim(ends) &
                  // ' Pa; write levels as (20:60) or (1:5,20), pressures as (10 hPa:)'
      end if
      if (len(problem) > 0) return
    end do
  end function problem_of_levels

  !> Fails if there is a problem with the entries, or variables names what is no output of the
  !! emulator or, with levels, an output that has none.
  subroutine check(self, emulator, status)
    class(climlink_coupling_policy), intent(in) :: self
    type(climlink_emulator), intent(in) :: emulator               !! Open.
    type(climlink_status), intent(out) :: status
    character(len=:), allocatable :: name
    integer :: i

    if (len(self%problem()) > 0) then
      status = failure(climlink_error_argument, process_rank(), 'coupling: ' // self%problem())
      return
    end if
    status%message = ''
    if (.not. allocated(self%variables)) return
    do i = 1, size(self%variables)
      name = trim(listed_name(self%variables(i)))
      if (name == every_output) cycle
      if (.not. emulator%has_output(name)) then
        status = unknown(emulator, name)
      else if (has_level_list(self%variables(i)) .and. .not. has_levels(emulator, name)) then
        status = failure(climlink_error_variable, process_rank(), 'coupling: ' // &
                         trim(self%variables(i)) // ': ' // name // ' has no levels: write ' // &
                         name // ', which is taken whole')
      end if
      if (.not. status%ok()) return
    end do
  end subroutine check

  function has_levels(emulator, name) result(yes)
    type(climlink_emulator), intent(in) :: emulator
    character(len=*), intent(in) :: name
    logical :: yes
    type(climlink_variable) :: output
    integer :: i

    yes = .false.
    do i = 1, emulator%n_output()
      output = emulator%output(i)
      if (output%name == name) yes = any(output%dims == 'level')
    end do
  end function has_levels

  function unknown(emulator, name) result(status)
    type(climlink_emulator), intent(in) :: emulator
    character(len=*), intent(in) :: name
    type(climlink_status) :: status
    character(len=:), allocatable :: known
    integer :: i

    known = ''
    do i = 1, emulator%n_output()
      known = known // ' ' // emulator%output_name(i)
    end do
    status = failure(climlink_error_variable, process_rank(), &
                     "coupling: the package has no output '" // name // "' to blend; it has" &
                     // known)
  end function unknown

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

  !> Weight with which the emulator's value of one output is applied in a step, on the levels where
  !! it is. In shadow mode one side is applied whole.
  pure function weight_of(self, variable, step) result(applied)
    class(climlink_coupling_policy), intent(in) :: self
    character(len=*), intent(in) :: variable
    integer, intent(in) :: step
    real(real64) :: applied

    applied = self%weight(step)
    if (self%mode == 'shadow') applied = merge(1.0_real64, 0.0_real64, self%feedback == 'emulator' &
                                               .and. step > self%spin_up_steps)
    if (self%mode == 'partial' .and. self%place_of(variable) == 0) applied = 0.0_real64
  end function weight_of

  !> The same for each of the host's levels, 0 on those that are left to the reference. Of a host
  !! that gives reference_pressure, one weight for each of them; after check.
  pure function level_weights(self, variable, step) result(applied)
    class(climlink_coupling_policy), intent(in) :: self
    character(len=*), intent(in) :: variable
    integer, intent(in) :: step
    real(real64), allocatable :: applied(:)
    logical :: chosen(size(self%reference_pressure))
    character(len=:), allocatable :: problem
    integer :: place

    allocate (applied(size(chosen)), source=self%weight_of(variable, step))
    place = self%place_of(variable)
    if (self%mode /= 'partial' .or. place == 0) return
    call find_levels(self%variables(place), self%reference_pressure, chosen, problem)
    where (.not. chosen) applied = 0.0_real64
  end function level_weights

  !> The entry of variables that is for an output: its own, else that for all; 0 if there is none.
  pure function place_of(self, variable) result(place)
    class(climlink_coupling_policy), intent(in) :: self
    character(len=*), intent(in) :: variable
    integer :: place

    place = 0
    if (.not. allocated(self%variables)) return
    place = findloc(listed_name(self%variables) == variable, .true., dim=1)
    if (place == 0) place = findloc(listed_name(self%variables) == every_output, .true., dim=1)
  end function place_of

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
