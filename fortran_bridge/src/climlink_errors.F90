!> Errors as values: a status with a code and a message, the same codes as climlink.h.
module climlink_errors
  use, intrinsic :: iso_c_binding, only: c_int
  use climlink_c_api, only: c_text, climlink_last_message_c, climlink_status_name_c
  implicit none (type, external)
  private

  public :: climlink_status, failure, outcome_of

  integer, parameter, public :: climlink_ok = 0                !! No error.
  integer, parameter, public :: climlink_error_argument = 1    !! Negative count, unknown device
                                                               !! text, and the like.
  integer, parameter, public :: climlink_error_file = 2        !! Missing, unreadable or truncated
                                                               !! file.
  integer, parameter, public :: climlink_error_package = 3     !! Not a package: no zip, no
                                                               !! manifest, not TorchScript.
  integer, parameter, public :: climlink_error_schema = 4      !! Manifest newer than this library,
                                                               !! or not valid.
  integer, parameter, public :: climlink_error_digest = 5      !! The file's SHA-256 is not the
                                                               !! pinned one.
  integer, parameter, public :: climlink_error_host = 6        !! Level count, time step or units
                                                               !! disagree with the manifest.
  integer, parameter, public :: climlink_error_variable = 7    !! Unknown variable name, or inputs
                                                               !! left unset.
  integer, parameter, public :: climlink_error_shape = 8       !! Wrong rank, extent, type or column
                                                               !! range.
  integer, parameter, public :: climlink_error_nonfinite = 9   !! NaN or Inf in an input or an
                                                               !! output.
  integer, parameter, public :: climlink_error_golden = 10     !! The golden columns do not come out
                                                               !! as recorded.
  integer, parameter, public :: climlink_error_graph = 11      !! The graph disagrees with the
                                                               !! manifest.
  integer, parameter, public :: climlink_error_device = 12     !! The device asked for is not there.
  integer, parameter, public :: climlink_error_backend = 13    !! The backend failed, or was not
                                                               !! built in.
  integer, parameter, public :: climlink_error_state = 14      !! Calls out of order, such as get
                                                               !! before run.
  integer, parameter, public :: climlink_error_internal = 15   !! Out of memory, or a defect in
                                                               !! climlink.
  integer, parameter, public :: climlink_error_group = 16      !! A rank of the group has ended or
                                                               !! does not come: end the program
                                                               !! without waiting for it.

  !> What became of a call.
  type :: climlink_status
    integer :: code = climlink_ok              !! One of the climlink_error_* codes, or climlink_ok.
    character(len=:), allocatable :: message   !! What was expected, what came, what to do; starts
                                               !! with `rank R: `.
  contains
    procedure :: ok => status_is_ok
    procedure :: name => status_name
  end type climlink_status

contains

  !> True if the call succeeded.
  elemental function status_is_ok(self) result(ok)
    class(climlink_status), intent(in) :: self
    logical :: ok

    ok = self%code == climlink_ok
  end function status_is_ok

  !> Short name of the code, such as `nonfinite`.
  function status_name(self) result(name)
    class(climlink_status), intent(in) :: self
    character(len=:), allocatable :: name

    name = c_text(climlink_status_name_c(int(self%code, c_int)))
  end function status_name

  !> A failed status whose message names the rank.
  pure function failure(code, rank, message) result(status)
    integer, intent(in) :: code, rank
    character(len=*), intent(in) :: message
    type(climlink_status) :: status
    character(len=12) :: rank_text

    write (rank_text, '(i0)') rank
    status%code = code
    status%message = 'rank ' // trim(rank_text) // ': ' // message
  end function failure

  !> The status of a C call; a failure takes the C library's last message, headed by what was being
  !! done.
  function outcome_of(code, rank, doing) result(status)
    integer(c_int), intent(in) :: code
    integer, intent(in) :: rank
    character(len=*), intent(in) :: doing
    type(climlink_status) :: status

    if (code == climlink_ok) then
      status%message = ''
    else
      status = failure(int(code), rank, doing // ': ' // c_text(climlink_last_message_c()))
    end if
  end function outcome_of

end module climlink_errors
