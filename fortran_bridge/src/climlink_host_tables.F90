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
!! A table points at the host's arrays, which must be targets and stay where they are; to declare a
!! table anew for every chunk and step is cheap. Arrays are [sample, dims...] by index, of real32 or
!! real64, any stride; other orders are named by axes and permuted without a copy.
module climlink_host_tables
  use, intrinsic :: iso_c_binding, only: c_char, c_int32_t, c_int64_t, c_loc
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink_array_views, only: view_of
  use climlink_c_api, only: c_array, c_characters, c_host_variable, climlink_check_host_c, &
                            climlink_fortran_read_c, climlink_get_c, climlink_set_c
  use climlink_emulators, only: climlink_emulator
  use climlink_errors, only: climlink_error_argument, climlink_error_host, climlink_error_shape, &
                             climlink_error_state, climlink_error_variable, climlink_ok, &
                             climlink_status, failure, outcome_of
  use climlink_parallel, only: process_rank, settle
  use climlink_queries, only: handle_of
  use climlink_run_options, only: number_text
  implicit none (type, external)
  private

  public :: climlink_host_fields, climlink_provider

  integer, parameter :: axis_length = 32, max_rank = 4
  character(len=*), parameter :: sample = 'sample', level = 'level'

  abstract interface
    !> Makes the values of one input [sample, width], of the samples from first_sample of this rank
    !! on; width is the product of the variable's dims.
    subroutine climlink_provider(context, name, first_sample, values, status)
      import :: climlink_status, real64
      implicit none (type, external)
      class(*), intent(in) :: context                        !! What add_provider was given.
      character(len=*), intent(in) :: name
      integer, intent(in) :: first_sample                    !! From 1.
      real(real64), intent(out) :: values(:, :)
      type(climlink_status), intent(inout) :: status         !! No error before.
    end subroutine climlink_provider
  end interface

  !> One line of the table.
  type :: host_field
    character(len=:), allocatable :: name, units
    character(len=axis_length), allocatable :: axes(:)       !! In the order of the host's array.
    logical :: taken = .false.
    logical :: has_values = .false.
    type(c_array) :: view                                    !! Of the host's array, if has_values.
    procedure(climlink_provider), pointer, nopass :: provider => null()
    class(*), pointer :: context => null()
    integer :: steps_needed = 0
  end type host_field

  type :: climlink_host_fields
    private
    type(host_field), allocatable :: entries(:)
    integer :: n_entry = 0
    integer :: n_sample = 0
    type(climlink_status) :: problem                         !! The first entry that makes no sense.
  contains
    procedure :: begin
    procedure :: count => sample_count
    procedure :: add_scalar
    procedure :: add_profile
    procedure :: add_field
    procedure :: add_provider
    procedure :: has
    procedure :: steps_needed
    procedure :: check
    procedure :: fetch
    procedure :: send
    procedure :: receive
    procedure, private :: add
    procedure, private :: find
    procedure, private :: give
    procedure, private :: provided
  end type climlink_host_fields

contains

  !> Empties the table; its arrays hold n_sample samples, or more of which these are the first.
  subroutine begin(self, n_sample)
    class(climlink_host_fields), intent(inout) :: self
    integer, intent(in) :: n_sample

    self%n_entry = 0
    self%n_sample = n_sample
    self%problem = climlink_status()
  end subroutine begin

  !> Samples that the table's arrays hold.
  pure function sample_count(self) result(n)
    class(climlink_host_fields), intent(in) :: self
    integer :: n

    n = self%n_sample
  end function sample_count

  !> Declares one number per sample. Without values, or with an array that is not allocated, it is
  !! only declared, which is all that check needs.
  subroutine add_scalar(self, name, units, values, taken)
    class(climlink_host_fields), intent(inout) :: self
    character(len=*), intent(in) :: name                     !! As the package has it.
    character(len=*), intent(in) :: units                    !! Of the host, as manifests write them.
    type(*), dimension(..), intent(in), optional, target :: values    !! [sample], a real kind.
    logical, intent(in), optional :: taken                   !! An output that the host needs.

    call self%add(name, units, sample, values, taken)
  end subroutine add_scalar

  !> Declares one profile per sample.
  subroutine add_profile(self, name, units, values, taken, axes)
    class(climlink_host_fields), intent(inout) :: self
    character(len=*), intent(in) :: name, units
    type(*), dimension(..), intent(in), optional, target :: values    !! [sample, level]
    logical, intent(in), optional :: taken
    character(len=*), intent(in), optional :: axes           !! Default 'sample level'.

    if (present(axes)) then
      call self%add(name, units, axes, values, taken)
    else
      call self%add(name, units, sample // ' ' // level, values, taken)
    end if
  end subroutine add_profile

  !> Declares a variable of other dims, such as 'sample lat lon' or 'lon lat sample'.
  subroutine add_field(self, name, units, axes, values, taken)
    class(climlink_host_fields), intent(inout) :: self
    character(len=*), intent(in) :: name, units
    character(len=*), intent(in) :: axes                     !! In the order of the array, by blanks.
    type(*), dimension(..), intent(in), optional, target :: values
    logical, intent(in), optional :: taken

    call self%add(name, units, axes, values, taken)
  end subroutine add_field

  !> Declares an input that is made where a package wants it.
  subroutine add_provider(self, name, units, provider, axes, context, steps_needed)
    class(climlink_host_fields), intent(inout) :: self
    character(len=*), intent(in) :: name, units
    procedure(climlink_provider) :: provider
    character(len=*), intent(in) :: axes                     !! 'sample', 'sample level', ...
    class(*), intent(in), target :: context                  !! Handed to provider.
    integer, intent(in), optional :: steps_needed            !! Of the host before it has a value.

    call self%add(name, units, axes)
    associate (entry => self%entries(self%n_entry))
      entry%provider => provider
      entry%context => context
      if (present(steps_needed)) entry%steps_needed = steps_needed
    end associate
  end subroutine add_provider

  subroutine add(self, name, units, axes, values, taken)
    class(climlink_host_fields), intent(inout) :: self
    character(len=*), intent(in) :: name, units, axes
    type(*), dimension(..), intent(in), optional, target :: values
    logical, intent(in), optional :: taken
    type(host_field) :: entry
    type(host_field), allocatable :: more(:)

    entry%name = trim(name)
    entry%units = trim(units)
    entry%axes = words(axes)
    if (present(taken)) entry%taken = taken
    if (present(values)) call look_at(entry, values, self%n_sample, self%problem)
    if (self%find(entry%name, entry%taken) > 0 .and. self%problem%ok()) then
      self%problem = of_table(climlink_error_argument, entry%name // ' stands there twice')
    end if
    if (.not. allocated(self%entries)) allocate (self%entries(64))
    if (self%n_entry == size(self%entries)) then
      allocate (more(2 * self%n_entry))
      more(:self%n_entry) = self%entries
      call move_alloc(more, self%entries)
    end if
    self%n_entry = self%n_entry + 1
    self%entries(self%n_entry) = entry
  end subroutine add

  !> Notes where the values of an entry are; one that is not allocated is only declared.
  subroutine look_at(entry, values, n_sample, problem)
    type(host_field), intent(inout) :: entry
    type(*), dimension(..), intent(in), target :: values
    integer, intent(in) :: n_sample
    type(climlink_status), intent(inout) :: problem
    type(climlink_status) :: outcome
    integer :: at

    call view_of(entry%name, values, process_rank(), "the host's table", entry%view, outcome)
    if (outcome%code == climlink_error_argument) return
    at = findloc(entry%axes, sample, dim=1)
    if (outcome%ok() .and. (at == 0 .or. entry%view%rank /= size(entry%axes))) then
      outcome = of_table(climlink_error_shape, entry%name // ': the axes are [' // &
                         joined(entry%axes, ', ') // '], the array has rank ' // &
                         number_text(int(entry%view%rank)))
    else if (outcome%ok()) then
      if (entry%view%extent(at) < n_sample) then
        outcome = of_table(climlink_error_shape, entry%name // ': the array holds ' // &
                           number_text(int(entry%view%extent(at))) // ' samples, the table ' // &
                           number_text(n_sample))
      end if
    end if
    if (problem%ok()) problem = outcome
    if (.not. outcome%ok()) return
    entry%view%extent(at) = int(n_sample, c_int64_t)
    entry%has_values = .true.
  end subroutine look_at

  function of_table(code, message) result(problem)
    integer, intent(in) :: code
    character(len=*), intent(in) :: message
    type(climlink_status) :: problem

    problem = failure(code, process_rank(), "the host's table: " // message)
  end function of_table

  pure function words(text) result(list)
    character(len=*), intent(in) :: text
    character(len=axis_length), allocatable :: list(:)
    character(len=:), allocatable :: rest
    integer :: at

    allocate (list(0))
    rest = trim(adjustl(text))
    do while (len(rest) > 0)
      at = index(rest // ' ', ' ')
      list = [list, [character(len=axis_length) :: rest(:at - 1)]]
      rest = trim(adjustl(rest(at:)))
    end do
  end function words

  pure function joined(list, between) result(text)
    character(len=*), intent(in) :: list(:), between
    character(len=:), allocatable :: text
    integer :: i

    text = ''
    do i = 1, size(list)
      if (i > 1) text = text // between
      text = text // trim(list(i))
    end do
  end function joined

  !> Position of an entry; 0 if the table has none of that name on that side.
  pure function find(self, name, taken) result(at)
    class(climlink_host_fields), intent(in) :: self
    character(len=*), intent(in) :: name
    logical, intent(in) :: taken
    integer :: at

    do at = 1, self%n_entry
      if (self%entries(at)%name == name .and. (self%entries(at)%taken .eqv. taken)) return
    end do
    at = 0
  end function find

  !> Whether the host gives an input of this name.
  pure function has(self, name) result(yes)
    class(climlink_host_fields), intent(in) :: self
    character(len=*), intent(in) :: name
    logical :: yes

    yes = self%find(name, .false.) > 0
  end function has

  !> Steps that the host must have made before every input of the package has a value.
  function steps_needed(self, emulator) result(n)
    class(climlink_host_fields), intent(in) :: self
    type(climlink_emulator), intent(in) :: emulator          !! Open.
    integer :: n
    integer :: i, at

    n = 0
    do i = 1, emulator%n_input()
      at = self%find(emulator%input_name(i), .false.)
      if (at > 0) n = max(n, self%entries(at)%steps_needed)
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
    character(len=:), allocatable :: setting
    integer :: needed

    outcome = self%problem
    if (outcome%ok() .and. .not. emulator%is_open()) then
      outcome = failure(climlink_error_state, process_rank(), &
                        'check: the emulator is not open; call open first')
    end if
    if (outcome%ok()) outcome = against_package(self%entries(:self%n_entry), emulator)
    if (outcome%ok() .and. present(spin_up_steps)) then
      needed = self%steps_needed(emulator)
      setting = 'spin_up_steps'
      if (present(spin_up_entry)) setting = spin_up_entry
      if (needed > spin_up_steps) then
        outcome = failure(climlink_error_host, process_rank(), &
                          'lagged inputs need ' // number_text(needed) // &
                          " steps of the host's own physics first: set " // setting // ' to ' // &
                          number_text(needed) // ' or more, not ' // number_text(spin_up_steps))
      end if
    end if
    call settle(outcome, status)
  end subroutine check

  function against_package(entries, emulator) result(outcome)
    type(host_field), intent(in) :: entries(:)
    type(climlink_emulator), intent(in) :: emulator
    type(climlink_status) :: outcome
    type :: c_line
      character(kind=c_char), allocatable :: name(:), units(:), dims(:)
    end type c_line
    type(c_line), target :: lines(size(entries))
    type(c_host_variable) :: variables(size(entries))
    integer :: i

    do i = 1, size(entries)
      lines(i)%name = c_characters(entries(i)%name)
      lines(i)%units = c_characters(entries(i)%units)
      lines(i)%dims = c_characters(joined(pack(entries(i)%axes, entries(i)%axes /= sample), ' '))
      variables(i) = c_host_variable(c_loc(lines(i)%name), c_loc(lines(i)%units), &
                                     c_loc(lines(i)%dims), merge(1_c_int32_t, 0_c_int32_t, &
                                                                 entries(i)%taken))
    end do
    outcome = outcome_of(climlink_check_host_c(handle_of(emulator), variables, &
                                               size(variables, kind=c_int64_t)), &
                         process_rank(), 'check')
  end function against_package

  !> The values of one input [sample, width] in real64, whether a package wants it or not.
  subroutine fetch(self, name, values, status, first_sample)
    class(climlink_host_fields), intent(in) :: self
    character(len=*), intent(in) :: name
    real(real64), intent(out) :: values(:, :)
    type(climlink_status), intent(inout) :: status           !! No error before.
    integer, intent(in), optional :: first_sample            !! Of this rank; default 1.
    integer :: at, first

    values = 0.0_real64
    at = self%find(name, .false.)
    first = 1
    if (present(first_sample)) first = first_sample
    if (at == 0) then
      status = failure(climlink_error_variable, process_rank(), 'the host gives no ' // name)
    else if (associated(self%entries(at)%provider)) then
      call self%entries(at)%provider(self%entries(at)%context, name, first, values, status)
    else
      call read_values(self%entries(at), values, status)
    end if
  end subroutine fetch

  subroutine read_values(entry, values, status)
    type(host_field), intent(in) :: entry
    real(real64), intent(out) :: values(:, :)
    type(climlink_status), intent(inout) :: status
    type(c_array) :: view

    values = 0.0_real64
    if (.not. entry%has_values) then
      status = failure(climlink_error_state, process_rank(), &
                       entry%name // ' is declared in the table but has no values yet')
    else
      view = sample_first(entry)
      if (climlink_fortran_read_c(view, values) /= climlink_ok) then
        status = failure(climlink_error_shape, process_rank(), entry%name // &
                         ': the array has not the shape of the values asked for')
      end if
    end if
  end subroutine read_values

  !> The view of an entry with the samples first and its other axes as they are.
  pure function sample_first(entry) result(view)
    type(host_field), intent(in) :: entry
    type(c_array) :: view
    integer :: at, k, n

    view = entry%view
    at = findloc(entry%axes, sample, dim=1)
    view%extent(1) = entry%view%extent(at)
    view%stride(1) = entry%view%stride(at)
    n = 1
    do k = 1, size(entry%axes)
      if (k == at) cycle
      n = n + 1
      view%extent(n) = entry%view%extent(k)
      view%stride(n) = entry%view%stride(k)
    end do
  end function sample_first

  !> The view of an entry with its axes in the order of the package's variable.
  function in_package_order(entry, dims) result(view)
    type(host_field), intent(in) :: entry
    character(len=*), intent(in) :: dims(:)                  !! Of the package's variable.
    type(c_array) :: view
    integer :: k, at

    view = sample_first(entry)
    do k = 1, size(dims)
      at = findloc(entry%axes, dims(k), dim=1)
      if (at == 0) cycle                                     ! check says so; set refuses the shape
      view%extent(k + 1) = entry%view%extent(at)
      view%stride(k + 1) = entry%view%stride(at)
    end do
  end function in_package_order

  !> Sets every input of the package that is not carried, of all samples of the table.
  subroutine send(self, emulator, status, first_sample)
    class(climlink_host_fields), intent(in) :: self
    type(climlink_emulator), intent(inout) :: emulator       !! After begin.
    type(climlink_status), intent(out), optional :: status
    integer, intent(in), optional :: first_sample            !! Of this table in the rank; default 1.
    type(climlink_status) :: outcome
    integer :: i, first

    first = 1
    if (present(first_sample)) first = first_sample
    outcome = self%problem
    do i = 1, emulator%n_input()
      if (.not. outcome%ok()) exit
      if (emulator%input_role(i) == 'value') call self%give(emulator, i, first, outcome)
    end do
    call settle(outcome, status)
  end subroutine send

  subroutine give(self, emulator, i, first, outcome)
    class(climlink_host_fields), intent(in) :: self
    type(climlink_emulator), intent(inout) :: emulator
    integer, intent(in) :: i                                 !! Input of the package, from 1.
    integer, intent(in) :: first
    type(climlink_status), intent(inout) :: outcome
    character(len=:), allocatable :: name
    integer :: at

    name = emulator%input_name(i)
    at = self%find(name, .false.)
    if (at == 0) then
      outcome = failure(climlink_error_variable, process_rank(), &
                        'send: the host gives no ' // name // '; check says what it has')
    else if (associated(self%entries(at)%provider)) then
      call self%provided(emulator, i, at, first, outcome)
    else if (.not. self%entries(at)%has_values) then
      outcome = failure(climlink_error_state, process_rank(), &
                        'send: ' // name // ' is declared in the table but has no values yet')
    else
      outcome = outcome_of(climlink_set_c(handle_of(emulator), c_characters(name), &
                                          in_package_order(self%entries(at), &
                                                           emulator%input_dim_names(i)), &
                                          int(first - 1, c_int64_t)), process_rank(), 'send')
    end if
  end subroutine give

  subroutine provided(self, emulator, i, at, first, outcome)
    class(climlink_host_fields), intent(in) :: self
    type(climlink_emulator), intent(inout) :: emulator
    integer, intent(in) :: i, at, first
    type(climlink_status), intent(inout) :: outcome
    real(real64), allocatable, target :: values(:, :)
    integer, allocatable :: sizes(:)
    type(c_array) :: view
    integer(c_int64_t) :: stride
    integer :: k

    allocate (values(self%n_sample, emulator%input_width(i)))
    associate (entry => self%entries(at))
      call entry%provider(entry%context, entry%name, first, values, outcome)
      if (outcome%ok()) call view_of(entry%name, values, process_rank(), 'send', view, outcome)
      if (.not. outcome%ok()) return
      sizes = emulator%input_dims(i)
      stride = view%stride(2)
      do k = size(sizes), 1, -1                              ! the last dim is fastest in a row
        view%extent(k + 1) = sizes(k)
        view%stride(k + 1) = stride
        stride = stride * sizes(k)
      end do
      if (size(sizes) > 0) view%rank = 1 + size(sizes)
      outcome = outcome_of(climlink_set_c(handle_of(emulator), c_characters(entry%name), view, &
                                          int(first - 1, c_int64_t)), process_rank(), 'send')
    end associate
  end subroutine provided

  !> Takes every output that the host takes and has room for, of all samples of the table.
  subroutine receive(self, emulator, status, first_sample)
    class(climlink_host_fields), intent(in) :: self
    type(climlink_emulator), intent(in) :: emulator          !! After run.
    type(climlink_status), intent(out), optional :: status
    integer, intent(in), optional :: first_sample            !! Of this table in the rank; default 1.
    type(climlink_status) :: outcome
    integer :: i, at, first

    first = 1
    if (present(first_sample)) first = first_sample
    outcome = self%problem
    do i = 1, emulator%n_output()
      if (.not. outcome%ok()) exit
      at = self%find(emulator%output_name(i), .true.)
      if (at == 0) cycle
      associate (entry => self%entries(at))
        if (.not. entry%has_values) cycle
        outcome = outcome_of(climlink_get_c(handle_of(emulator), c_characters(entry%name), &
                                            in_package_order(entry, emulator%output_dim_names(i)), &
                                            int(first - 1, c_int64_t)), process_rank(), 'receive')
      end associate
    end do
    call settle(outcome, status)
  end subroutine receive

end module climlink_host_tables
