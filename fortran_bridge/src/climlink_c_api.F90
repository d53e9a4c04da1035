!> The C interface of climlink (climlink.h) as Fortran sees it, and the passage of text between the
!! two languages.
!!
!! Hosts use the module `climlink`; nothing here is meant for them.
module climlink_c_api
  use, intrinsic :: iso_c_binding, only: c_associated, c_char, c_double, c_f_pointer, c_int, &
                                         c_int32_t, c_int64_t, c_null_char, c_null_ptr, c_ptr, &
                                         c_size_t
  implicit none (type, external)
  private

  public :: text_answer, c_array, c_host_variable, c_role_input, c_role_output, &
            climlink_version_c, climlink_backend_c, climlink_status_name_c, &
            climlink_last_message_c, climlink_option_count_c, climlink_option_c, &
            climlink_options_new_c, climlink_options_set_c, climlink_options_get_c, &
            climlink_options_free_c, &
            climlink_read_file_c, climlink_free_c, climlink_open_c, climlink_open_bytes_c, &
            climlink_close_c, climlink_manifest_c, climlink_digest_c, climlink_device_c, &
            climlink_level_count_c, climlink_time_step_c, climlink_vertical_grid_c, &
            climlink_host_postprocessing_c, climlink_constraints_off_c, &
            climlink_engine_c, climlink_engine_note_c, climlink_precision_c, &
            climlink_golden_difference_c, climlink_variable_count_c, climlink_variable_c, &
            climlink_variable_dims_c, climlink_variable_role_c, climlink_dim_size_c, &
            climlink_require_units_c, climlink_require_coordinate_c, climlink_carried_count_c, &
            climlink_carried_c, climlink_check_host_c, climlink_begin_c, climlink_set_c, &
            climlink_run_c, climlink_get_c, climlink_has_range_policy_c, climlink_range_use_c, &
            climlink_fortran_view_c, climlink_fortran_read_c, &
            climlink_fortran_write_c, c_text, c_characters, text_of

  integer(c_int), parameter :: c_role_input = 1_c_int
  integer(c_int), parameter :: c_role_output = 2_c_int

  integer, parameter, public :: max_rank = 4    !! CLIMLINK_MAX_RANK

  !> `climlink_array` of climlink.h: a view of an array of the host.
  type, bind(c) :: c_array
    type(c_ptr) :: data = c_null_ptr
    integer(c_int) :: type = 0_c_int
    integer(c_int32_t) :: rank = 0_c_int32_t
    integer(c_int64_t) :: extent(max_rank) = 0_c_int64_t
    integer(c_int64_t) :: stride(max_rank) = 0_c_int64_t       !! [byte]
  end type c_array

  !> `climlink_host_variable` of climlink.h.
  type, bind(c) :: c_host_variable
    type(c_ptr) :: name, units, dims
    integer(c_int32_t) :: taken
  end type c_host_variable

  ! Shapes of several functions. gfortran 12 forgets VALUE in all but one of a module's calls of
  ! what such a shape declares: text queries are handed to text_answer, never called.
  abstract interface
    function fixed_text() result(text) bind(c)
      import :: c_ptr
      implicit none (type, external)
      type(c_ptr) :: text
    end function fixed_text

    function text_query(handle, text) result(status) bind(c)
      import :: c_int, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: handle
      type(c_ptr), intent(out) :: text
      integer(c_int) :: status
    end function text_query

    !> Leaves a null pointer.
    function handle_release(handle) result(status) bind(c)
      import :: c_int, c_ptr
      implicit none (type, external)
      type(c_ptr), intent(inout) :: handle
      integer(c_int) :: status
    end function handle_release
  end interface

  procedure(fixed_text), bind(c, name='climlink_version') :: climlink_version_c
  procedure(fixed_text), bind(c, name='climlink_backend') :: climlink_backend_c
  procedure(fixed_text), bind(c, name='climlink_last_message') :: climlink_last_message_c
  procedure(text_query), bind(c, name='climlink_manifest') :: climlink_manifest_c
  procedure(text_query), bind(c, name='climlink_digest') :: climlink_digest_c
  procedure(text_query), bind(c, name='climlink_device') :: climlink_device_c
  procedure(text_query), bind(c, name='climlink_host_postprocessing') :: &
    climlink_host_postprocessing_c
  procedure(text_query), bind(c, name='climlink_constraints_off') :: climlink_constraints_off_c
  procedure(text_query), bind(c, name='climlink_engine') :: climlink_engine_c
  procedure(text_query), bind(c, name='climlink_precision') :: climlink_precision_c
  procedure(text_query), bind(c, name='climlink_engine_note') :: climlink_engine_note_c
  procedure(handle_release), bind(c, name='climlink_options_free') :: climlink_options_free_c
  procedure(handle_release), bind(c, name='climlink_close') :: climlink_close_c

  interface
    function climlink_status_name_c(status) result(text) bind(c, name='climlink_status_name')
      import :: c_int, c_ptr
      implicit none (type, external)
      integer(c_int), value, intent(in) :: status
      type(c_ptr) :: text
    end function climlink_status_name_c

    function climlink_option_count_c() result(count) bind(c, name='climlink_option_count')
      import :: c_int32_t
      implicit none (type, external)
      integer(c_int32_t) :: count
    end function climlink_option_count_c

    function climlink_option_c(index, name, type, value, set_by, help) result(status) &
      bind(c, name='climlink_option')
      import :: c_int, c_int32_t, c_ptr
      implicit none (type, external)
      integer(c_int32_t), value, intent(in) :: index
      type(c_ptr), intent(out) :: name, type, value, set_by, help
      integer(c_int) :: status
    end function climlink_option_c

    function climlink_options_new_c(options) result(status) bind(c, name='climlink_options_new')
      import :: c_int, c_ptr
      implicit none (type, external)
      type(c_ptr), intent(out) :: options
      integer(c_int) :: status
    end function climlink_options_new_c

    function climlink_options_set_c(options, name, value) result(status) &
      bind(c, name='climlink_options_set')
      import :: c_char, c_int, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: options
      character(kind=c_char), intent(in) :: name(*), value(*)
      integer(c_int) :: status
    end function climlink_options_set_c

    function climlink_options_get_c(options, name, value) result(status) &
      bind(c, name='climlink_options_get')
      import :: c_char, c_int, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: options
      character(kind=c_char), intent(in) :: name(*)
      type(c_ptr), intent(out) :: value
      integer(c_int) :: status
    end function climlink_options_get_c

    function climlink_read_file_c(path, bytes, size) result(status) &
      bind(c, name='climlink_read_file')
      import :: c_char, c_int, c_int64_t, c_ptr
      implicit none (type, external)
      character(kind=c_char), intent(in) :: path(*)
      type(c_ptr), intent(out) :: bytes
      integer(c_int64_t), intent(out) :: size
      integer(c_int) :: status
    end function climlink_read_file_c

    subroutine climlink_free_c(bytes) bind(c, name='climlink_free')
      import :: c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: bytes
    end subroutine climlink_free_c

    function climlink_open_c(path, options, emulator) result(status) bind(c, name='climlink_open')
      import :: c_char, c_int, c_ptr
      implicit none (type, external)
      character(kind=c_char), intent(in) :: path(*)
      type(c_ptr), value, intent(in) :: options
      type(c_ptr), intent(out) :: emulator
      integer(c_int) :: status
    end function climlink_open_c

    function climlink_open_bytes_c(bytes, size, name, options, emulator) result(status) &
      bind(c, name='climlink_open_bytes')
      import :: c_char, c_int, c_int64_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: bytes
      integer(c_int64_t), value, intent(in) :: size
      character(kind=c_char), intent(in) :: name(*)
      type(c_ptr), value, intent(in) :: options
      type(c_ptr), intent(out) :: emulator
      integer(c_int) :: status
    end function climlink_open_bytes_c

    function climlink_variable_count_c(emulator, role, count, total_width) result(status) &
      bind(c, name='climlink_variable_count')
      import :: c_int, c_int32_t, c_int64_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      integer(c_int), value, intent(in) :: role
      integer(c_int32_t), intent(out) :: count
      integer(c_int64_t), intent(out) :: total_width
      integer(c_int) :: status
    end function climlink_variable_count_c

    function climlink_variable_c(emulator, role, index, name, units, width, offset) result(status) &
      bind(c, name='climlink_variable')
      import :: c_int, c_int32_t, c_int64_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      integer(c_int), value, intent(in) :: role
      integer(c_int32_t), value, intent(in) :: index
      type(c_ptr), intent(out) :: name, units
      integer(c_int64_t), intent(out) :: width, offset
      integer(c_int) :: status
    end function climlink_variable_c

    function climlink_require_units_c(emulator, role, name, units) result(status) &
      bind(c, name='climlink_require_units')
      import :: c_char, c_int, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      integer(c_int), value, intent(in) :: role
      character(kind=c_char), intent(in) :: name(*), units(*)
      integer(c_int) :: status
    end function climlink_require_units_c

    function climlink_variable_dims_c(emulator, role, index, n_dim, names, sizes) result(status) &
      bind(c, name='climlink_variable_dims')
      import :: c_int, c_int32_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      integer(c_int), value, intent(in) :: role
      integer(c_int32_t), value, intent(in) :: index
      integer(c_int32_t), intent(out) :: n_dim
      type(c_ptr), intent(out) :: names, sizes
      integer(c_int) :: status
    end function climlink_variable_dims_c

    function climlink_variable_role_c(emulator, role, index, text) result(status) &
      bind(c, name='climlink_variable_role')
      import :: c_int, c_int32_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      integer(c_int), value, intent(in) :: role
      integer(c_int32_t), value, intent(in) :: index
      type(c_ptr), intent(out) :: text
      integer(c_int) :: status
    end function climlink_variable_role_c

    function climlink_dim_size_c(emulator, dim, size) result(status) &
      bind(c, name='climlink_dim_size')
      import :: c_char, c_int, c_int64_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      character(kind=c_char), intent(in) :: dim(*)
      integer(c_int64_t), intent(out) :: size
      integer(c_int) :: status
    end function climlink_dim_size_c

    function climlink_require_coordinate_c(emulator, dim, values, n) result(status) &
      bind(c, name='climlink_require_coordinate')
      import :: c_char, c_double, c_int, c_int64_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      character(kind=c_char), intent(in) :: dim(*)
      integer(c_int64_t), value, intent(in) :: n
      real(c_double), intent(in) :: values(n)
      integer(c_int) :: status
    end function climlink_require_coordinate_c

    function climlink_carried_c(emulator, index, output, input) result(status) &
      bind(c, name='climlink_carried')
      import :: c_int, c_int32_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      integer(c_int32_t), value, intent(in) :: index
      type(c_ptr), intent(out) :: output, input
      integer(c_int) :: status
    end function climlink_carried_c

    function climlink_begin_c(emulator, n_column) result(status) bind(c, name='climlink_begin')
      import :: c_int, c_int64_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      integer(c_int64_t), value, intent(in) :: n_column
      integer(c_int) :: status
    end function climlink_begin_c

    function climlink_check_host_c(emulator, variables, n) result(status) &
      bind(c, name='climlink_check_host')
      import :: c_host_variable, c_int, c_int64_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      integer(c_int64_t), value, intent(in) :: n
      type(c_host_variable), intent(in) :: variables(n)
      integer(c_int) :: status
    end function climlink_check_host_c

    function climlink_vertical_grid_c(emulator, p0_pa, hyai, hybi, n) result(status) &
      bind(c, name='climlink_vertical_grid')
      import :: c_double, c_int, c_int64_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      real(c_double), intent(out) :: p0_pa
      type(c_ptr), intent(out) :: hyai, hybi
      integer(c_int64_t), intent(out) :: n
      integer(c_int) :: status
    end function climlink_vertical_grid_c

    function climlink_level_count_c(emulator, level_count) result(status) &
      bind(c, name='climlink_level_count')
      import :: c_int, c_int32_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      integer(c_int32_t), intent(out) :: level_count
      integer(c_int) :: status
    end function climlink_level_count_c

    function climlink_carried_count_c(emulator, count) result(status) &
      bind(c, name='climlink_carried_count')
      import :: c_int, c_int32_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      integer(c_int32_t), intent(out) :: count
      integer(c_int) :: status
    end function climlink_carried_count_c

    function climlink_time_step_c(emulator, time_step_s) result(status) &
      bind(c, name='climlink_time_step')
      import :: c_double, c_int, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      real(c_double), intent(out) :: time_step_s
      integer(c_int) :: status
    end function climlink_time_step_c

    function climlink_golden_difference_c(emulator, difference) result(status) &
      bind(c, name='climlink_golden_difference')
      import :: c_double, c_int, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      real(c_double), intent(out) :: difference
      integer(c_int) :: status
    end function climlink_golden_difference_c

    function climlink_run_c(emulator) result(status) bind(c, name='climlink_run')
      import :: c_int, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      integer(c_int) :: status
    end function climlink_run_c

    function climlink_has_range_policy_c(emulator, yes) result(status) &
      bind(c, name='climlink_has_range_policy')
      import :: c_int, c_int32_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      integer(c_int32_t), intent(out) :: yes
      integer(c_int) :: status
    end function climlink_has_range_policy_c

    function climlink_range_use_c(emulator, n_column, clipped, heating, mass_share) &
      result(status) bind(c, name='climlink_range_use')
      import :: c_double, c_int, c_int64_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      integer(c_int64_t), value, intent(in) :: n_column
      real(c_double), intent(out) :: clipped(n_column), heating(n_column), mass_share(n_column)
      integer(c_int) :: status
    end function climlink_range_use_c

    function climlink_set_c(emulator, name, values, first_column) result(status) &
      bind(c, name='climlink_set')
      import :: c_array, c_char, c_int, c_int64_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      character(kind=c_char), intent(in) :: name(*)
      type(c_array), intent(in) :: values
      integer(c_int64_t), value, intent(in) :: first_column
      integer(c_int) :: status
    end function climlink_set_c

    function climlink_get_c(emulator, name, values, first_column) result(status) &
      bind(c, name='climlink_get')
      import :: c_array, c_char, c_int, c_int64_t, c_ptr
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: emulator
      character(kind=c_char), intent(in) :: name(*)
      type(c_array), intent(in) :: values
      integer(c_int64_t), value, intent(in) :: first_column
      integer(c_int) :: status
    end function climlink_get_c

    !> The view of a Fortran array (climlink_descriptor.c).
    function climlink_fortran_view_c(name, values, view, message, capacity) result(status) &
      bind(c, name='climlink_fortran_view')
      import :: c_array, c_char, c_int, c_size_t
      implicit none (type, external)
      character(kind=c_char), intent(in) :: name(*)
      type(*), dimension(..), intent(in) :: values
      type(c_array), intent(out) :: view
      character(kind=c_char), intent(inout) :: message(*)
      integer(c_size_t), value, intent(in) :: capacity
      integer(c_int) :: status
    end function climlink_fortran_view_c

    !> Copies what a view [sample, dims...] sees to values [sample, width].
    function climlink_fortran_read_c(view, values) result(status) &
      bind(c, name='climlink_fortran_read')
      import :: c_array, c_double, c_int
      implicit none (type, external)
      type(c_array), intent(in) :: view
      real(c_double), intent(inout) :: values(:, :)
      integer(c_int) :: status
    end function climlink_fortran_read_c

    !> Copies values [sample, width] to where a view [sample, dims...] looks.
    function climlink_fortran_write_c(view, values) result(status) &
      bind(c, name='climlink_fortran_write')
      import :: c_array, c_double, c_int
      implicit none (type, external)
      type(c_array), intent(in) :: view
      real(c_double), intent(in) :: values(:, :)
      integer(c_int) :: status
    end function climlink_fortran_write_c

    function c_strlen(text) result(length) bind(c, name='strlen')
      import :: c_ptr, c_size_t
      implicit none (type, external)
      type(c_ptr), value, intent(in) :: text
      integer(c_size_t) :: length
    end function c_strlen
  end interface

contains

  !> The Fortran copy of a NUL-terminated C text; '' for a null pointer.
  function c_text(pointer) result(text)
    type(c_ptr), intent(in) :: pointer
    character(len=:), allocatable :: text
    character(kind=c_char), pointer :: characters(:)
    integer :: length, i

    if (.not. c_associated(pointer)) then
      text = ''
      return
    end if
    length = int(c_strlen(pointer))
    call c_f_pointer(pointer, characters, [length])
    allocate (character(len=length) :: text)
    do i = 1, length
      text(i:i) = characters(i)
    end do
  end function c_text

  !> What the library answers about a package; '' for a null pointer.
  function text_answer(query, package) result(text)
    procedure(text_query) :: query
    type(c_ptr), intent(in) :: package
    character(len=:), allocatable :: text
    type(c_ptr) :: pointer

    text = ''
    if (query(package, pointer) == 0_c_int) text = c_text(pointer)
  end function text_answer

  !> The NUL-terminated characters of a Fortran text without its trailing blanks.
  pure function c_characters(text) result(characters)
    character(len=*), intent(in) :: text
    character(kind=c_char) :: characters(len_trim(text) + 1)
    integer :: i

    do i = 1, len_trim(text)
      characters(i) = text(i:i)
    end do
    characters(len_trim(text) + 1) = c_null_char
  end function c_characters

  !> The text before the first NUL.
  pure function text_of(characters) result(text)
    character(kind=c_char), intent(in) :: characters(:)
    character(len=:), allocatable :: text
    integer :: i, length

    length = findloc(characters, c_null_char, dim=1) - 1
    allocate (character(len=length) :: text)
    do i = 1, length
      text(i:i) = characters(i)
    end do
  end function text_of

end module climlink_c_api
