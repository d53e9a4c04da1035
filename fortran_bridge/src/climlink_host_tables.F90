!> The one table by which a host says what it can give to an emulator and take from it: name, units,
!! axes, and where the values are. Names and units are those of the package's variables.
!!
!! ```fortran
!! call fields%begin(ncol)                                    ! samples that the arrays hold
!! call fields%add_profile('state_t', 'K', t)                 ! [column, level]
!! call fields%add_scalar('state_ps', 'Pa', ps)               ! [column]
!! call fields%add_provider('clat', '1', cosine, 'sample', self)
!! call fields%add_profile('ptend_t', 'K/s', dtdt, taken=.true.)
!! call fields%check(emulator, status)                        ! once, before the first step
!! ...
!! call emulator%begin(ncol, status)                          ! each step
!! call fields%send(emulator, status)
!! call emulator%run(status)
!! call fields%receive(emulator, status)
!! ```
!!
!! A table points at the host's arrays, also after the call that declared them: they must have the
!! TARGET attribute and stay where they are while the table is in use. Hand over variables and their
!! sections, never an expression: its values are gone after the call. To declare a table anew for
!! every chunk and step is cheap. Arrays are [sample, dims...] by index, of real32 or real64, any
!! stride; other orders are named by axes and permuted without a copy.
module climlink_host_tables
  use, intrinsic :: iso_c_binding, only: c_int64_t
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink_array_views, only: view_of
  use climlink_c_api, only: c_array, c_characters, climlink_fortran_read_c, &
                            climlink_fortran_write_c, climlink_get_c, climlink_set_c
  use climlink_emulators, only: climlink_emulator
  use climlink_errors, only: climlink_error_argument, climlink_error_host, climlink_error_shape, &
                             climlink_error_state, climlink_error_variable, climlink_ok, &
                             climlink_status, failure, outcome_of
  use climlink_host_entries, only: against_package, climlink_provider, host_field, &
                                   in_package_order, level => level_axis, new_entry, of_table, &
                                   sample => sample_axis, spread_row
  use climlink_humidity, only: relative_humidity
  use climlink_parallel, only: process_rank, settle
  use climlink_queries, only: handle_of, inputs_of, outputs_of
  use climlink_run_options, only: number_text
  use climlink_variables, only: climlink_variable, name_length
  use climlink_vertical_remap, only: climlink_remap
  implicit none (type, external)
  private

  public :: climlink_host_fields, climlink_provider

  type :: climlink_host_fields
    private
    type(host_field), allocatable :: entries(:)
    integer :: n_entry = 0
    integer :: n_sample = -1                                 !! Negative before begin.
    type(climlink_status) :: problem                         !! The first entry that makes no sense.
    ! Where the host's levels are, and the package's grid; not associated where levels are the same.
    type(climlink_remap), pointer :: remap => null()
    real(real64), pointer :: p_interface(:, :) => null()     !! [sample, host level + 1], Pa
  contains
    procedure :: begin
    procedure :: count => sample_count
    procedure :: add_scalar, add_profile, add_field, add_provider, add_relative_humidity, &
                 remap_levels, has, steps_needed, check, fetch, send, receive
    procedure, private :: find, give, values_of, take_remapped, usable
  end type climlink_host_fields

contains

  !> Empties the table; its arrays hold n_sample samples, or more of which these are the first.
  subroutine begin(self, n_sample)
    class(climlink_host_fields), intent(inout) :: self
    integer, intent(in) :: n_sample

    self%n_entry = 0
    self%n_sample = max(0, n_sample)
    self%problem = climlink_status()
    nullify (self%remap, self%p_interface)
    if (n_sample < 0) self%problem = of_table(climlink_error_argument, 'begin: ' // &
                                              number_text(n_sample) // ' samples, not 0 or more')
  end subroutine begin

  !> Samples that the table's arrays hold.
  pure function sample_count(self) result(n)
    class(climlink_host_fields), intent(in) :: self
    integer :: n

    n = max(0, self%n_sample)
  end function sample_count

  !> Declares one number per sample. Without values, or with an array that is not allocated, it is
  !! only declared, which is all that check needs.
  subroutine add_scalar(self, name, units, values, taken)
    class(climlink_host_fields), intent(inout) :: self
    character(len=*), intent(in) :: name                     !! As the package has it.
    character(len=*), intent(in) :: units                    !! Of the host, as in manifests.
    type(*), dimension(..), intent(in), optional, target :: values    !! [sample], a real kind.
    logical, intent(in), optional :: taken                   !! An output that the host needs.

    call self%add_field(name, units, sample, values, taken)
  end subroutine add_scalar

  !> Declares one profile per sample.
  subroutine add_profile(self, name, units, values, taken, axes, is_pressure, species)
    class(climlink_host_fields), intent(inout) :: self
    character(len=*), intent(in) :: name, units
    type(*), dimension(..), intent(in), optional, target :: values    !! [sample, level]
    logical, intent(in), optional :: taken
    character(len=*), intent(in), optional :: axes           !! Default 'sample level'.
    logical, intent(in), optional :: is_pressure             !! At midpoints: on other levels the
                                                             !! package is sent its own.
    character(len=*), intent(in), optional :: species        !! The water whose tendency it is: a
                                                             !! remap does not make that negative.

    if (present(axes)) then
      call self%add_field(name, units, axes, values, taken)
    else
      call self%add_field(name, units, sample // ' ' // level, values, taken)
    end if
    associate (entry => self%entries(self%n_entry))
      if (present(is_pressure)) entry%is_pressure = is_pressure
      if (present(species)) entry%species = trim(species)
    end associate
  end subroutine add_profile

  !> Declares an input that is made where a package wants it.
  subroutine add_provider(self, name, units, provider, axes, context, steps_needed)
    class(climlink_host_fields), intent(inout) :: self
    character(len=*), intent(in) :: name, units
    procedure(climlink_provider) :: provider
    character(len=*), intent(in) :: axes                     !! 'sample', 'sample level', ...
    class(*), intent(in), target :: context                  !! Handed to provider.
    integer, intent(in), optional :: steps_needed            !! Of the host before it has a value.

    call self%add_field(name, units, axes)
    associate (entry => self%entries(self%n_entry))
      entry%provider => provider
      entry%context => context
      if (present(steps_needed)) entry%steps_needed = steps_needed
    end associate
  end subroutine add_provider

  !> Declares relative humidity [1], made where a package wants it, on the levels of the package, of
  !! temperature [K], specific humidity [kg/kg] and pressure at midpoints [Pa] by their names.
  subroutine add_relative_humidity(self, name, temperature, vapor, pressure)
    class(climlink_host_fields), intent(inout) :: self
    character(len=*), intent(in) :: name, temperature, vapor, pressure

    call self%add_field(name, '1', sample // ' ' // level)
    self%entries(self%n_entry)%humidity_of = [character(len=name_length) :: temperature, vapor, &
                                              pressure]
  end subroutine add_relative_humidity

  !> Declares that the host has other levels than the package: profiles go through the remap, if it
  !! is active. Both arguments must be targets.
  subroutine remap_levels(self, remap, p_interface)
    class(climlink_host_fields), intent(inout) :: self
    type(climlink_remap), intent(in), target :: remap
    real(real64), intent(in), target :: p_interface(:, :)    !! [sample, host level + 1], Pa

    nullify (self%remap, self%p_interface)
    if (.not. remap%is_active()) return
    self%remap => remap
    self%p_interface => p_interface
  end subroutine remap_levels

  !> Declares a variable of other dims, such as 'sample lat lon' or 'lon lat sample'.
  subroutine add_field(self, name, units, axes, values, taken)
    class(climlink_host_fields), intent(inout) :: self
    character(len=*), intent(in) :: name, units
    character(len=*), intent(in) :: axes                     !! In the array's order, by blanks.
    type(*), dimension(..), intent(in), optional, target :: values
    logical, intent(in), optional :: taken
    type(host_field), allocatable :: more(:)
    type(climlink_status) :: outcome

    if (.not. allocated(self%entries)) allocate (self%entries(64))
    if (self%n_entry == size(self%entries)) then
      allocate (more(2 * self%n_entry))
      more(:self%n_entry) = self%entries
      call move_alloc(more, self%entries)
    end if
    call new_entry(name, units, axes, self%count(), self%entries(self%n_entry + 1), outcome, &
                   values, taken)
    associate (entry => self%entries(self%n_entry + 1))
      if (outcome%ok() .and. self%find(entry%name, entry%taken) > 0) then
        outcome = of_table(climlink_error_argument, entry%name // ' stands there twice')
      end if
    end associate
    self%n_entry = self%n_entry + 1
    if (self%problem%ok()) self%problem = outcome
  end subroutine add_field

  !> What stands against using the table with an emulator: no begin, an entry that makes no sense,
  !! an emulator that is not open.
  function usable(self, emulator, doing) result(outcome)
    class(climlink_host_fields), intent(in) :: self
    type(climlink_emulator), intent(in) :: emulator
    character(len=*), intent(in) :: doing
    type(climlink_status) :: outcome

    if (self%n_sample < 0) then
      outcome = of_table(climlink_error_state, doing // ': call begin before the first entry')
    else if (.not. self%problem%ok()) then
      outcome = self%problem
    else if (.not. emulator%is_open()) then
      outcome = of_table(climlink_error_state, &
                         doing // ': the emulator is not open; call open first')
    end if
  end function usable

  !> Position of an entry; 0 if the table has none of that name on that side. Looks first after the
  !! entry that was found before: tables and packages are mostly in one order.
  pure function find(self, name, taken, after) result(at)
    class(climlink_host_fields), intent(in) :: self
    character(len=*), intent(in) :: name
    logical, intent(in) :: taken
    integer, intent(in), optional :: after
    integer :: at
    integer :: k, start

    start = 0
    if (present(after)) start = after
    do k = 1, self%n_entry
      at = modulo(start + k - 1, self%n_entry) + 1
      if (len(self%entries(at)%name) /= len(name)) cycle
      if (self%entries(at)%name == name .and. (self%entries(at)%taken .eqv. taken)) return
    end do
    at = 0
  end function find

  !> Whether the host gives an input of this name.
  pure function has(self, name) result(yes)
    class(climlink_host_fields), intent(in) :: self
    character(len=*), intent(in) :: name
    logical :: yes

    yes = self%find(trim(name), .false.) > 0
  end function has

  !> Steps that the host must have made before every input of the package has a value.
  pure function steps_needed(self, emulator) result(n)
    class(climlink_host_fields), intent(in) :: self
    type(climlink_emulator), intent(in) :: emulator          !! Open.
    integer :: n
    integer :: at

    n = 0
    do at = 1, self%n_entry
      associate (entry => self%entries(at))
        if (entry%steps_needed > n) n = merge(entry%steps_needed, n, emulator%has_input(entry%name))
      end associate
    end do
  end function steps_needed

  !> Holds the table against a package, before the first step. The message names all that does not
  !! fit: inputs that the host lacks, with near names, outputs that the package lacks, other units,
  !! other dims, carried variables that the host sets too, and too few steps before the first.
  subroutine check(self, emulator, status, spin_up_steps, spin_up_entry)
    class(climlink_host_fields), intent(in) :: self
    type(climlink_emulator), intent(in) :: emulator          !! Open.
    type(climlink_status), intent(out), optional :: status
    integer, intent(in), optional :: spin_up_steps           !! Steps of the host's own physics.
    character(len=*), intent(in), optional :: spin_up_entry  !! What the host calls that setting.
    type(climlink_status) :: outcome
    character(len=:), allocatable :: short

    outcome = self%usable(emulator, 'check')
    if (outcome%ok()) then
      outcome = against_package(self%entries(:self%n_entry), emulator)
      short = ''
      if (present(spin_up_steps)) short = short_history(self%steps_needed(emulator), &
                                                        spin_up_steps, spin_up_entry)
      if (len(short) > 0 .and. outcome%ok()) then
        outcome = failure(climlink_error_host, process_rank(), 'check: ' // short)
      else if (len(short) > 0) then
        outcome%message = outcome%message // '. Also, ' // short
      end if
    end if
    call settle(outcome, status)
  end subroutine check

  !> What to do where the host's own steps are too few; '' where they are enough.
  pure function short_history(needed, spin_up_steps, spin_up_entry) result(text)
    integer, intent(in) :: needed, spin_up_steps
    character(len=*), intent(in), optional :: spin_up_entry
    character(len=:), allocatable :: text

    text = ''
    if (needed <= spin_up_steps) return
    text = 'spin_up_steps'
    if (present(spin_up_entry)) text = spin_up_entry
    text = 'lagged inputs need ' // number_text(needed) // &
           " steps of the host's own physics first: set " // text // ' to ' // &
           number_text(needed) // ' or more, not ' // number_text(spin_up_steps)
  end function short_history

  !> The values of one input [sample, width] in real64, whether a package wants it or not.
  subroutine fetch(self, name, values, status, first_sample)
    class(climlink_host_fields), intent(in) :: self
    character(len=*), intent(in) :: name
    real(real64), intent(out) :: values(:, :)
    type(climlink_status), intent(inout) :: status           !! No error before.
    integer, intent(in), optional :: first_sample            !! Of this rank; default 1.
    integer :: first

    first = 1
    if (present(first_sample)) first = first_sample
    call self%values_of(name, first, .false., values, status)
  end subroutine fetch

  !> The values of one input [sample, width]; of a profile on the package's levels, if remapped.
  recursive subroutine values_of(self, name, first, remapped, values, status)
    class(climlink_host_fields), intent(in) :: self
    character(len=*), intent(in) :: name
    integer, intent(in) :: first
    logical, intent(in) :: remapped
    real(real64), intent(out) :: values(:, :)
    type(climlink_status), intent(inout) :: status           !! No error before.
    real(real64), allocatable :: parts(:, :, :)
    integer :: at, k

    values = 0.0_real64
    at = self%find(trim(name), .false.)
    if (at == 0) then
      status = of_table(climlink_error_variable, 'the host gives no ' // trim(name))
      return
    end if
    associate (entry => self%entries(at))
      if (entry%humidity_of(1) /= '') then
        allocate (parts(size(values, 1), size(values, 2), 3))
        do k = 1, 3
          if (status%ok()) call self%values_of(entry%humidity_of(k), first, remapped, &
                                               parts(:, :, k), status)
        end do
        if (status%ok()) values = relative_humidity(parts(:, :, 1), parts(:, :, 2), parts(:, :, 3))
      else if (remapped .and. entry%is_pressure) then
        call self%remap%package_midpoints(self%p_interface(:size(values, 1), :), values, status)
      else if (remapped) then
        allocate (parts(size(values, 1), size(self%p_interface, 2) - 1, 1))
        call self%values_of(name, first, .false., parts(:, :, 1), status)
        if (status%ok()) call self%remap%to_package(self%p_interface(:size(values, 1), :), &
                                                    parts(:, :, 1), values, status)
      else if (associated(entry%provider)) then
        call entry%provider(entry%context, entry%name, first, values, status)
      else if (.not. entry%has_values) then
        status = of_table(climlink_error_state, entry%name // &
                          ' is declared without an array, or with one that is not allocated')
      else if (climlink_fortran_read_c(entry%view, values) /= climlink_ok) then
        status = of_table(climlink_error_shape, entry%name // &
                          ': the array has not the shape of the values asked for')
      end if
    end associate
  end subroutine values_of

  !> Sets every input of the package that is not carried, of all samples of the table.
  subroutine send(self, emulator, status, first_sample)
    class(climlink_host_fields), intent(in) :: self
    type(climlink_emulator), intent(inout), target :: emulator   !! After begin.
    type(climlink_status), intent(out), optional :: status
    integer, intent(in), optional :: first_sample            !! Of the table in the rank; default 1.
    type(climlink_status) :: outcome
    type(climlink_variable), pointer :: inputs(:)
    integer :: i, first, at

    first = 1
    if (present(first_sample)) first = first_sample
    outcome = self%usable(emulator, 'send')
    if (outcome%ok() .and. self%n_sample > 0) then
      inputs => inputs_of(emulator)
      at = 0
      do i = 1, size(inputs)
        if (inputs(i)%role /= 'value') cycle
        call self%give(emulator, inputs(i), first, at, outcome)
        if (.not. outcome%ok()) exit
      end do
    end if
    if (.not. outcome%ok()) call emulator%leave_step(outcome%message)
    call settle(outcome, status)
  end subroutine send

  subroutine give(self, emulator, input, first, at, outcome)
    class(climlink_host_fields), intent(in) :: self
    type(climlink_emulator), intent(inout) :: emulator
    type(climlink_variable), intent(in) :: input             !! Of the package.
    integer, intent(in) :: first
    integer, intent(inout) :: at                             !! Entry given before; this one.
    type(climlink_status), intent(inout) :: outcome
    real(real64), allocatable, target :: values(:, :)
    type(c_array) :: view
    logical :: remapped

    at = self%find(input%name, .false., at)
    if (at == 0) then
      outcome = of_table(climlink_error_variable, 'send: the host gives no ' // input%name // &
                         ', which the package takes; check says all that is missing')
      return
    end if
    remapped = associated(self%remap) .and. any(input%dims == level)
    associate (entry => self%entries(at))
      if (entry%has_values .and. .not. remapped) then
        view = in_package_order(entry, input%dims)
      else
        allocate (values(self%n_sample, input%width))
        call self%values_of(entry%name, first, remapped, values, outcome)
        if (outcome%ok()) call view_of(entry%name, values, process_rank(), 'send', view, outcome)
        if (outcome%ok()) call spread_row(view, input%sizes)
      end if
      if (outcome%ok()) outcome = outcome_of(climlink_set_c(handle_of(emulator), &
                                                            c_characters(entry%name), view, &
                                                            int(first - 1, c_int64_t)), &
                                             process_rank(), 'send')
    end associate
  end subroutine give

  !> Takes a profile from the package's levels to the host's, with the same sum of value * dp. Where
  !! only the remap would make a species negative, the neighbouring layers give what is missing.
  subroutine take_remapped(self, emulator, at, first, outcome)
    class(climlink_host_fields), intent(in) :: self
    type(climlink_emulator), intent(in) :: emulator
    integer, intent(in) :: at, first
    type(climlink_status), intent(inout) :: outcome
    real(real64), dimension(self%n_sample, size(self%p_interface, 2) - 1) :: values, q
    real(real64) :: given(self%n_sample, self%remap%package_levels())
    real(real64), dimension(self%n_sample) :: moved, unfilled

    associate (entry => self%entries(at), p_interface => self%p_interface(:self%n_sample, :))
      call emulator%get(entry%name, given, first, outcome)
      if (outcome%ok()) call self%remap%to_host(p_interface, given, values, outcome)
      if (outcome%ok() .and. len(entry%species) > 0) then
        call self%fetch(entry%species, q, outcome, first)
        if (outcome%ok()) call self%remap%keep_positive(p_interface, q, emulator%time_step(), &
                                                        values, moved, unfilled, outcome)
      end if
      if (.not. outcome%ok()) return
      if (climlink_fortran_write_c(entry%view, values) /= climlink_ok) then
        outcome = of_table(climlink_error_shape, entry%name // &
                           ': the array has not the levels of the interfaces given to remap_levels')
      end if
    end associate
  end subroutine take_remapped

  !> Takes every output that the host takes and has room for, of all samples of the table.
  subroutine receive(self, emulator, status, first_sample)
    class(climlink_host_fields), intent(in) :: self
    type(climlink_emulator), intent(in), target :: emulator  !! After run.
    type(climlink_status), intent(out), optional :: status
    integer, intent(in), optional :: first_sample            !! Of the table in the rank; default 1.
    type(climlink_status) :: outcome
    type(climlink_variable), pointer :: outputs(:)
    integer :: i, at, first

    first = 1
    if (present(first_sample)) first = first_sample
    outcome = self%usable(emulator, 'receive')
    if (outcome%ok()) then
      outputs => outputs_of(emulator)
      at = 0
      do i = 1, size(outputs)
        at = self%find(outputs(i)%name, .true., at)
        if (at == 0) cycle
        associate (entry => self%entries(at))
          if (.not. entry%has_values) cycle
          if (associated(self%remap) .and. any(outputs(i)%dims == level)) then
            call self%take_remapped(emulator, at, first, outcome)
            if (.not. outcome%ok()) exit
            cycle
          end if
          outcome = outcome_of(climlink_get_c(handle_of(emulator), c_characters(entry%name), &
                                              in_package_order(entry, outputs(i)%dims), &
                                              int(first - 1, c_int64_t)), process_rank(), 'receive')
          if (.not. outcome%ok()) exit
        end associate
      end do
    end if
    call settle(outcome, status)
  end subroutine receive

end module climlink_host_tables
