!> Arrays of a host as the C interface sees them. For the bridge's own modules.
module climlink_array_views
  use, intrinsic :: iso_c_binding, only: c_char, c_null_char, c_size_t
  use climlink_c_api, only: c_array, c_characters, climlink_fortran_view_c, text_of
  use climlink_errors, only: climlink_ok, climlink_status, failure
  implicit none (type, external)
  private

  public :: view_of

contains

  !> The view of an array of any kind, rank and stride; nothing is copied. Fails with
  !! climlink_error_argument where the array is not allocated, else with climlink_error_shape.
  subroutine view_of(name, values, rank, doing, view, outcome)
    character(len=*), intent(in) :: name
    type(*), dimension(..), intent(in), target :: values
    integer, intent(in) :: rank                              !! Of this process, for the message.
    character(len=*), intent(in) :: doing
    type(c_array), intent(out) :: view
    type(climlink_status), intent(inout) :: outcome          !! No error before.
    character(kind=c_char) :: message(512)
    integer :: code

    message(1) = c_null_char
    code = climlink_fortran_view_c(c_characters(name), values, view, message, &
                                   size(message, kind=c_size_t))
    if (code /= climlink_ok) outcome = failure(code, rank, doing // ': ' // text_of(message))
  end subroutine view_of

end module climlink_array_views
