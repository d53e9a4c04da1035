!> netCDF files of the hosts: new ones appear under their name whole or not at all, old ones are
!! checked before they are believed.
!!
!! Errors are texts that name the file and, where there is one, the variable; '' means none.
module netcdf_files
  use netcdf, only: nf90_64bit_data, nf90_clobber, nf90_close, nf90_create, nf90_noerr, &
                    nf90_nofill, nf90_nowrite, nf90_open, nf90_set_fill, nf90_strerror, nf90_sync
  use classic_netcdf, only: check_length
  use climlink_files, only: remove_file, replace_file
  use climlink, only: climlink_status
  implicit none (type, external)
  private

  public :: netcdf_file, create_beside, put_in_place, complete, discard, open_whole, close_file, &
            attempt, problem

  !> What a file is called until it is whole: its name and this.
  character(len=*), parameter :: unfinished = '.part'

  !> Bytes that the library moves at once. Its own choice, a block of the file system (4096), halves
  !! the speed of writing.
  integer, parameter :: transfer_size = 65536

  type :: netcdf_file
    character(len=:), allocatable :: path    !! Final name.
    integer :: id = -1                       !! Of the netCDF library; -1: not open.
  end type netcdf_file

contains

  !> Begins a CDF-5 file beside its final name, in define mode. Values that are never written stay
  !! undefined.
  subroutine create_beside(path, file, error)
    character(len=*), intent(in) :: path                  !! Final name.
    type(netcdf_file), intent(out) :: file
    character(len=:), allocatable, intent(out) :: error
    integer :: old_mode, size_hint

    file%path = path
    size_hint = transfer_size
    error = problem(path // unfinished, &
                    nf90_create(path // unfinished, ior(nf90_clobber, nf90_64bit_data), file%id, &
                                chunksize=size_hint))
    if (len(error) > 0) then
      file%id = -1
      call remove_file(path // unfinished)
    else
      call attempt(error, path, nf90_set_fill(file%id, nf90_nofill, old_mode))
    end if
  end subroutine create_beside

  !> Gives the file its final name, replacing what had it, and leaves it open for more records.
  !! After an error nothing is left.
  subroutine put_in_place(file, error)
    type(netcdf_file), intent(inout) :: file
    character(len=:), allocatable, intent(inout) :: error

    if (file%id == -1) return
    call attempt(error, file%path, nf90_sync(file%id))
    if (len(error) == 0) call rename_finished(file%path, error)
    if (len(error) > 0) call discard(file)
  end subroutine put_in_place

  !> Closes the file and gives it its final name, replacing what had it; after an error nothing
  !! remains of it.
  subroutine complete(file, error)
    type(netcdf_file), intent(inout) :: file
    character(len=:), allocatable, intent(inout) :: error

    if (file%id == -1) return
    if (len(error) == 0) then
      call attempt(error, file%path, nf90_close(file%id))
      if (len(error) == 0) file%id = -1
    end if
    if (len(error) == 0) call rename_finished(file%path, error)
    if (len(error) > 0) call discard(file)
  end subroutine complete

  !> Drops a file that has not got its final name.
  subroutine discard(file)
    type(netcdf_file), intent(inout) :: file
    integer :: ignored

    if (file%id /= -1) ignored = nf90_close(file%id)
    file%id = -1
    call remove_file(file%path // unfinished)
  end subroutine discard

  subroutine rename_finished(path, error)
    character(len=*), intent(in) :: path
    character(len=:), allocatable, intent(inout) :: error
    type(climlink_status) :: status

    call replace_file(path // unfinished, path, status)
    if (.not. status%ok()) error = status%message
  end subroutine rename_finished

  !> Opens a file for reading, or with another mode; one that is shorter than its header says is
  !! refused.
  subroutine open_whole(path, file, error, mode)
    character(len=*), intent(in) :: path
    type(netcdf_file), intent(out) :: file
    character(len=:), allocatable, intent(out) :: error
    integer, intent(in), optional :: mode
    integer :: how, size_hint

    size_hint = transfer_size
    how = nf90_nowrite
    if (present(mode)) how = mode
    file%path = path
    error = problem(path, nf90_open(path, how, file%id, size_hint))
    if (len(error) > 0) then
      file%id = -1
      return
    end if
    call check_length(path, error)
    if (len(error) > 0) call close_file(file)
  end subroutine open_whole

  !> Closes a file that was opened for reading.
  subroutine close_file(file)
    type(netcdf_file), intent(inout) :: file
    integer :: ignored

    if (file%id /= -1) ignored = nf90_close(file%id)
    file%id = -1
  end subroutine close_file

  !> Keeps the first error of a sequence of calls.
  subroutine attempt(error, path, code, name)
    character(len=:), allocatable, intent(inout) :: error
    character(len=*), intent(in) :: path
    integer, intent(in) :: code
    character(len=*), intent(in), optional :: name

    if (len(error) == 0) error = problem(path, code, name)
  end subroutine attempt

  !> The text of a netCDF failure, '' if there is none.
  function problem(path, code, name) result(error)
    character(len=*), intent(in) :: path
    integer, intent(in) :: code
    character(len=*), intent(in), optional :: name
    character(len=:), allocatable :: error

    error = ''
    if (code == nf90_noerr) return
    error = path // ': '
    if (present(name)) error = error // name // ': '
    error = error // trim(nf90_strerror(code))
  end function problem

end module netcdf_files
