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
  use climlink_parallel, only: process_rank
  implicit none (type, external)
  private

  public :: climlink_options, library_option, library_options, number_text, new_c_options, &
            free_c_options, set_c_option

  !> One option as the library publishes it.
  type :: library_option
    character(len=:), allocatable :: name, type, default, set_by, help
  end type library_option

  type :: option_value
    character(len=:), allocatable :: name, text
  end type option_value

  !> Options that differ from the library's defaults. What is wrong with one is said by set, if it
  !! is given a status, else by open.
  type :: climlink_options
    private
    type(option_value), allocatable :: given(:)
  contains
    procedure, private :: set_text, set_names, set_integer, set_real, set_logical
    generic :: set => set_text, set_names, set_integer, set_real, set_logical
    procedure :: text => text_of_option
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
      if (climlink_option_c(i - 1_c_int32_t, name, type, default, set_by, help) &
          /= climlink_ok) cycle
      options(i)%name = c_text(name)
      options(i)%type = c_text(type)
      options(i)%default = c_text(default)
      options(i)%set_by = c_text(set_by)
      options(i)%help = c_text(help)
    end do
  end function library_options

  subroutine set_text(self, name, value, status)
    class(climlink_options), intent(inout) :: self
    character(len=*), intent(in) :: name, value
    type(climlink_status), intent(out), optional :: status
    type(option_value), allocatable :: more(:)
    integer :: at

    if (.not. allocated(self%given)) allocate (self%given(0))
    do at = 1, size(self%given)
      if (self%given(at)%name == name) exit
    end do
    if (at > size(self%given)) then
      allocate (more(at))
      more(:at - 1) = self%given
      call move_alloc(more, self%given)
    end if
    self%given(at)%name = trim(name)
    self%given(at)%text = trim(value)
    if (present(status)) call check_one(name, value, status)
  end subroutine set_text

  !> Asks the library about one option alone.
  subroutine check_one(name, value, status)
    character(len=*), intent(in) :: name, value
    type(climlink_status), intent(out) :: status
    type(c_ptr) :: handle
    integer :: rank

    rank = process_rank()
    status = outcome_of(climlink_options_new_c(handle), rank, 'set')
    call set_c_option(handle, name, value, rank, status, 'set')
    call free_c_options(handle)
  end subroutine check_one

  !> A list of names, of which blank ones do not count.
  subroutine set_names(self, name, value, status)
    class(climlink_options), intent(inout) :: self
    character(len=*), intent(in) :: name, value(:)
    type(climlink_status), intent(out), optional :: status
    character(len=:), allocatable :: joined
    integer :: i

    joined = ''
    do i = 1, size(value)
      if (len_trim(value(i)) == 0) cycle
      if (len(joined) > 0) joined = joined // ','
      joined = joined // trim(value(i))
    end do
    call self%set_text(name, joined, status)
  end subroutine set_names

  subroutine set_integer(self, name, value, status)
    class(climlink_options), intent(inout) :: self
    character(len=*), intent(in) :: name
    integer, intent(in) :: value
    type(climlink_status), intent(out), optional :: status

    call self%set_text(name, number_text(value), status)
  end subroutine set_integer

  subroutine set_real(self, name, value, status)
    class(climlink_options), intent(inout) :: self
    character(len=*), intent(in) :: name
    real(real64), intent(in) :: value
    type(climlink_status), intent(out), optional :: status

    call self%set_text(name, number_text(value), status)
  end subroutine set_real

  subroutine set_logical(self, name, value, status)
    class(climlink_options), intent(inout) :: self
    character(len=*), intent(in) :: name
    logical, intent(in) :: value
    type(climlink_status), intent(out), optional :: status

    call self%set_text(name, merge('true ', 'false', value), status)
  end subroutine set_logical

  !> What an option is set to, else the library's default; '' for a name that is none.
  function text_of_option(self, name) result(text)
    class(climlink_options), intent(in) :: self
    character(len=*), intent(in) :: name
    character(len=:), allocatable :: text
    type(library_option), allocatable :: published(:)
    integer :: i

    text = ''
    if (allocated(self%given)) then
      do i = 1, size(self%given)
        if (self%given(i)%name /= name) cycle
        text = self%given(i)%text
        return
      end do
    end if
    allocate (published, source=library_options())
    do i = 1, size(published)
      if (published(i)%name == name) text = published(i)%default
    end do
  end function text_of_option

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
    call set_c_option(handle, 'language', 'fortran', rank, outcome, 'open')
    if (.not. allocated(options%given)) return
    do i = 1, size(options%given)
      call set_c_option(handle, options%given(i)%name, options%given(i)%text, rank, outcome, 'open')
    end do
  end subroutine new_c_options

  !> Sets one of them, unless something failed before.
  subroutine set_c_option(handle, name, text, rank, outcome, doing)
    type(c_ptr), intent(in) :: handle
    character(len=*), intent(in) :: name, text
    integer, intent(in) :: rank
    type(climlink_status), intent(inout) :: outcome
    character(len=*), intent(in) :: doing                    !! For the message.

    if (.not. outcome%ok()) return
    outcome = outcome_of(climlink_options_set_c(handle, c_characters(name), c_characters(text)), &
                         rank, doing)
  end subroutine set_c_option

  subroutine free_c_options(handle)
    type(c_ptr), intent(inout) :: handle

    if (climlink_options_free_c(handle) /= climlink_ok) handle = c_null_ptr
  end subroutine free_c_options

end module climlink_run_options
