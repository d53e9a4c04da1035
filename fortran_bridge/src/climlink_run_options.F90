!> What a host asks of the library when it opens a package: options by name. Names, types and
!! defaults are those that the library itself publishes (climlink_option of climlink.h).
!!
!! ```fortran
!! type(climlink_options) :: options
!! call options%set('device', 'cuda')
!! call options%set('micro_batch', 128)
!! call options%set('constraints_off', ['night'])
!! call emulator%open('wrap_model.pt', status, comm=comm, options=options)
!! ```
module climlink_run_options
  use, intrinsic :: iso_c_binding, only: c_int32_t, c_null_ptr, c_ptr
  use, intrinsic :: iso_fortran_env, only: real64
  use climlink_c_api, only: c_characters, c_text, climlink_option_c, climlink_option_count_c, &
                            climlink_options_free_c, climlink_options_new_c, climlink_options_set_c
  use climlink_errors, only: climlink_ok, climlink_status, outcome_of
  implicit none (type, external)
  private

  public :: climlink_options, library_option, library_options, number_text
  public :: new_c_options, free_c_options, set_c_option

  !> One option as the library publishes it.
  type :: library_option
    character(len=:), allocatable :: name, type, default, set_by
  end type library_option

  type :: option_value
    character(len=:), allocatable :: name, text
  end type option_value

  !> Options that differ from the library's defaults. What is wrong with one is said by open.
  type :: climlink_options
    private
    type(option_value), allocatable :: given(:)
  contains
    procedure, private :: set_text
    procedure, private :: set_names
    procedure, private :: set_integer
    procedure, private :: set_real
    procedure, private :: set_logical
    generic :: set => set_text, set_names, set_integer, set_real, set_logical
  end type climlink_options

  interface number_text
    module procedure integer_text, real_text
  end interface number_text

contains

  !> The options of the library, in its order.
  function library_options() result(options)
    type(library_option), allocatable :: options(:)
    type(c_ptr) :: name, type, default, set_by, help
    integer(c_int32_t) :: i

    allocate (options(climlink_option_count_c()))
    do i = 1, size(options, kind=c_int32_t)
      if (climlink_option_c(i - 1_c_int32_t, name, type, default, set_by, help) /= climlink_ok) cycle
      options(i) = library_option(c_text(name), c_text(type), c_text(default), c_text(set_by))
    end do
  end function library_options

  pure subroutine set_text(self, name, value)
    class(climlink_options), intent(inout) :: self
    character(len=*), intent(in) :: name
    character(len=*), intent(in) :: value
    type(option_value), allocatable :: others(:)
    integer :: i

    allocate (others(0))
    if (allocated(self%given)) then
      others = pack(self%given, [(self%given(i)%name /= name, i=1, size(self%given))])
    end if
    self%given = [others, option_value(name, trim(value))]
  end subroutine set_text

  !> A list of names, of which blank ones do not count.
  pure subroutine set_names(self, name, value)
    class(climlink_options), intent(inout) :: self
    character(len=*), intent(in) :: name
    character(len=*), intent(in) :: value(:)
    character(len=:), allocatable :: joined
    integer :: i

    joined = ''
    do i = 1, size(value)
      if (len_trim(value(i)) == 0) cycle
      if (len(joined) > 0) joined = joined // ','
      joined = joined // trim(value(i))
    end do
    call self%set_text(name, joined)
  end subroutine set_names

  pure subroutine set_integer(self, name, value)
    class(climlink_options), intent(inout) :: self
    character(len=*), intent(in) :: name
    integer, intent(in) :: value

    call self%set_text(name, number_text(value))
  end subroutine set_integer

  pure subroutine set_real(self, name, value)
    class(climlink_options), intent(inout) :: self
    character(len=*), intent(in) :: name
    real(real64), intent(in) :: value

    call self%set_text(name, number_text(value))
  end subroutine set_real

  pure subroutine set_logical(self, name, value)
    class(climlink_options), intent(inout) :: self
    character(len=*), intent(in) :: name
    logical, intent(in) :: value

    call self%set_text(name, trim(merge('true ', 'false', value)))
  end subroutine set_logical

  pure function integer_text(number) result(text)
    integer, intent(in) :: number
    character(len=:), allocatable :: text
    character(len=12) :: digits

    write (digits, '(i0)') number
    text = trim(digits)
  end function integer_text

  !> All digits, so that reading gives the same number.
  pure function real_text(number) result(text)
    real(real64), intent(in) :: number
    character(len=:), allocatable :: text
    character(len=25) :: digits

    write (digits, '(es24.16e3)') number
    text = trim(adjustl(digits))
  end function real_text

  !> The options for one climlink_open_c, to be freed with free_c_options. For the bridge's own
  !! modules; who speaks Fortran is told in Fortran's words.
  subroutine new_c_options(options, rank, handle, outcome)
    type(climlink_options), intent(in) :: options
    integer, intent(in) :: rank
    type(c_ptr), intent(out) :: handle
    type(climlink_status), intent(inout) :: outcome
    integer :: i

    handle = c_null_ptr
    if (.not. outcome%ok()) return
    outcome = outcome_of(climlink_options_new_c(handle), rank, 'open')
    call set_c_option(handle, 'language', 'fortran', rank, outcome)
    if (.not. allocated(options%given)) return
    do i = 1, size(options%given)
      call set_c_option(handle, options%given(i)%name, options%given(i)%text, rank, outcome)
    end do
  end subroutine new_c_options

  !> Sets one of them, unless something failed before.
  subroutine set_c_option(handle, name, text, rank, outcome)
    type(c_ptr), intent(in) :: handle
    character(len=*), intent(in) :: name, text
    integer, intent(in) :: rank
    type(climlink_status), intent(inout) :: outcome

    if (.not. outcome%ok()) return
    outcome = outcome_of(climlink_options_set_c(handle, c_characters(name), c_characters(text)), &
                         rank, 'open')
  end subroutine set_c_option

  subroutine free_c_options(handle)
    type(c_ptr), intent(inout) :: handle

    if (climlink_options_free_c(handle) /= climlink_ok) handle = c_null_ptr
  end subroutine free_c_options

end module climlink_run_options
