!> Files that appear whole or not at all: write beside the final name, then replace.
module climlink_files
  use, intrinsic :: iso_c_binding, only: c_char, c_int
  use climlink_c_api, only: c_characters
  use climlink_errors, only: climlink_error_file, climlink_status, failure
  use climlink_parallel, only: process_rank
  implicit none (type, external)
  private

  public :: replace_file, remove_file

  interface
    function c_rename(old_name, new_name) result(failed) bind(c, name='rename')
      import :: c_char, c_int
      implicit none (type, external)
      character(kind=c_char), intent(in) :: old_name(*), new_name(*)
      integer(c_int) :: failed
    end function c_rename

    function c_remove(name) result(failed) bind(c, name='remove')
      import :: c_char, c_int
      implicit none (type, external)
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int) :: failed
    end function c_remove
  end interface

contains

  !> Gives the file `temporary` the name `final`, in one step, replacing what had that name. Both
  !! lie in one folder.
  subroutine replace_file(temporary, final, status)
    character(len=*), intent(in) :: temporary, final
    type(climlink_status), intent(out) :: status

    if (c_rename(c_characters(temporary), c_characters(final)) == 0) then
      status%message = ''
    else
      status = failure(climlink_error_file, process_rank(), &
                       trim(final) &
                       // ': could not be put in place of an older file or made; is the ' // &
                       'folder writable?')
    end if
  end subroutine replace_file

  !> Removes a file if it is there.
  subroutine remove_file(name)
    character(len=*), intent(in) :: name
    logical :: exists

    inquire (file=trim(name), exist=exists)
    if (exists) exists = c_remove(c_characters(name)) /= 0
  end subroutine remove_file

end module climlink_files
