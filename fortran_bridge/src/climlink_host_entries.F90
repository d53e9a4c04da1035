!> One line of a host's table: what it names, and where its values are. For climlink_host_tables.
module climlink_host_entries
  use, intrinsic :: iso_c_binding, only: c_char, c_int32_t, c_int64_t, c_loc
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink_array_views, only: view_of
  use climlink_c_api, only: c_array, c_characters, c_host_variable, climlink_check_host_c, max_rank
  use climlink_emulators, only: climlink_emulator
  use climlink_errors, only: climlink_error_argument, climlink_error_shape, climlink_status, &
                             failure, outcome_of
  use climlink_parallel, only: process_rank
  use climlink_queries, only: handle_of
  use climlink_run_options, only: number_text
  use climlink_variables, only: name_length
  implicit none (type, external)
  private

  public :: climlink_provider, host_field, new_entry, of_table, against_package, in_package_order, &
            spread_row

  character(len=*), parameter, public :: sample_axis = 'sample', level_axis = 'level'

  abstract interface
    !> Makes the values of one input [sample, width], of the samples from first_sample of this rank
    !! on; width is the product of the variable's dims. A procedure of a module: an internal one is
    !! gone when the procedure that holds it returns.
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
    integer :: n_axis = 0
    character(len=name_length) :: axes(max_rank) = ''        !! sample first, then the others in the
                                                             !! order of the host's array.
    logical :: taken = .false.
    logical :: has_values = .false.
    type(c_array) :: view                                    !! Of the host's array, if has_values,
                                                             !! in the order of axes.
    procedure(climlink_provider), pointer, nopass :: provider => null()
    class(*), pointer :: context => null()
    integer :: steps_needed = 0
    logical :: is_pressure = .false.                         !! At midpoints of the levels.
    character(len=name_length) :: humidity_of(3) = ''        !! Temperature, vapour and pressure
                                                             !! that it is made of, or ''.
    character(len=:), allocatable :: species                 !! Water that it changes, or ''.
  end type host_field

contains

  !> Makes an entry; one whose array is not allocated is only declared.
  subroutine new_entry(name, units, axes, n_sample, entry, outcome, values, taken)
    character(len=*), intent(in) :: name, units, axes
    integer, intent(in) :: n_sample                          !! Of the table.
    type(host_field), intent(inout) :: entry
    type(climlink_status), intent(out) :: outcome
    type(*), dimension(..), intent(in), optional, target :: values
    logical, intent(in), optional :: taken
    integer :: at

    entry = host_field()
    entry%name = trim(name)
    entry%units = trim(units)
    entry%species = ''
    if (present(taken)) entry%taken = taken
    call read_axes(axes, entry, at, outcome)
    if (present(values) .and. outcome%ok()) call look_at(entry, at, values, n_sample, outcome)
  end subroutine new_entry

  !> Takes the names of the axes, which blanks separate, the samples first; at_sample is where
  !! those are in the host's array.
  subroutine read_axes(text, entry, at_sample, outcome)
    character(len=*), intent(in) :: text
    type(host_field), intent(inout) :: entry
    integer, intent(out) :: at_sample
    type(climlink_status), intent(inout) :: outcome
    integer :: n, first, last

    n = 0
    at_sample = 0
    entry%n_axis = 1
    entry%axes(1) = sample_axis
    first = verify(text, ' ')
    do while (first > 0)
      last = first + index(text(first:) // ' ', ' ') - 2
      n = n + 1
      if (text(first:last) == sample_axis .and. at_sample == 0) then
        at_sample = n
      else if (entry%n_axis < max_rank) then
        entry%n_axis = entry%n_axis + 1
        entry%axes(entry%n_axis) = text(first:last)
      end if
      first = last + verify(text(last + 1:), ' ')
      if (first == last) exit
    end do
    if (at_sample == 0 .or. n /= entry%n_axis) then
      outcome = of_table(climlink_error_argument, entry%name // ": the axes are '" // trim(text) &
                         // "'; expected at most " // number_text(max_rank) // &
                         " names, one of them sample, such as 'sample level'")
    end if
  end subroutine read_axes

  !> Notes where the values of an entry are; one that is not allocated is only declared.
  subroutine look_at(entry, at_sample, values, n_sample, outcome)
    type(host_field), intent(inout) :: entry
    integer, intent(in) :: at_sample
    type(*), dimension(..), intent(in), target :: values
    integer, intent(in) :: n_sample
    type(climlink_status), intent(inout) :: outcome          !! No error before.
    type(c_array) :: view

    call view_of(entry%name, values, process_rank(), "the host's table", view, outcome)
    if (outcome%code == climlink_error_argument) then       ! not allocated
      outcome = climlink_status()
      return
    end if
    if (.not. outcome%ok()) return
    if (view%rank /= entry%n_axis) then
      outcome = of_table(climlink_error_shape, entry%name // ': the array has rank ' // &
                         number_text(int(view%rank)) // ', the axes are ' // &
                         number_text(entry%n_axis) // '; name them in the order of the array')
    else if (view%extent(at_sample) < n_sample) then
      outcome = of_table(climlink_error_shape, entry%name // ': the array holds ' // &
                         number_text(int(view%extent(at_sample))) // &
                         ' samples along axis ' // number_text(at_sample) // ', the table ' // &
                         number_text(n_sample))
    end if
    if (.not. outcome%ok()) return
    view%extent(:at_sample) = [int(n_sample, c_int64_t), view%extent(:at_sample - 1)]
    view%stride(:at_sample) = [view%stride(at_sample), view%stride(:at_sample - 1)]
    entry%view = view
    entry%has_values = .true.
  end subroutine look_at

  function of_table(code, message) result(problem)
    integer, intent(in) :: code
    character(len=*), intent(in) :: message
    type(climlink_status) :: problem

    problem = failure(code, process_rank(), "the host's table: " // message)
  end function of_table

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
      lines(i)%dims = c_characters(joined(entries(i)%axes(2:entries(i)%n_axis)))
      variables(i) = c_host_variable(c_loc(lines(i)%name), c_loc(lines(i)%units), &
                                     c_loc(lines(i)%dims), merge(1_c_int32_t, 0_c_int32_t, &
                                                                 entries(i)%taken))
    end do
    outcome = outcome_of(climlink_check_host_c(handle_of(emulator), variables, &
                                               size(variables, kind=c_int64_t)), &
                         process_rank(), 'check')
  end function against_package

  !> Words with blanks between them.
  pure function joined(words) result(text)
    character(len=*), intent(in) :: words(:)
    character(len=:), allocatable :: text
    integer :: i

    text = ''
    do i = 1, size(words)
      text = text // ' ' // trim(words(i))
    end do
  end function joined

  !> The view of an entry with its axes in the order of the package's variable.
  pure function in_package_order(entry, dims) result(view)
    type(host_field), intent(in) :: entry
    character(len=*), intent(in) :: dims(:)                  !! Of the package's variable.
    type(c_array) :: view
    integer :: k, at

    view = entry%view
    do k = 1, min(size(dims), max_rank - 1)
      do at = 2, entry%n_axis
        if (entry%axes(at) /= dims(k)) cycle                 ! set refuses what is not there
        view%extent(k + 1) = entry%view%extent(at)
        view%stride(k + 1) = entry%view%stride(at)
      end do
    end do
  end function in_package_order

  !> Turns the view of values [sample, width] into one of [sample, sizes...], whose last dim is
  !! fastest in width.
  pure subroutine spread_row(view, sizes)
    type(c_array), intent(inout) :: view
    integer, intent(in) :: sizes(:)
    integer(c_int64_t) :: stride
    integer :: k

    stride = view%stride(2)
    view%rank = 1 + size(sizes)
    do k = size(sizes), 1, -1
      view%extent(k + 1) = sizes(k)
      view%stride(k + 1) = stride
      stride = stride * sizes(k)
    end do
  end subroutine spread_row

end module climlink_host_entries
