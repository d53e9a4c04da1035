!> What a file of a run says about where it comes from.
module host_provenance
  use climlink, only: climlink_version
  use host_parallel, only: program_name
  use netcdf, only: nf90_global, nf90_put_att
  use netcdf_files, only: attempt, netcdf_file
  implicit none (type, external)
  private

  public :: run_provenance, new_provenance, put_provenance

  type :: run_provenance
    character(len=:), allocatable :: created   !! Date of the run's first job, UTC; '' if nobody
                                               !! said.
    character(len=:), allocatable :: package_name     !! '' if nobody said.
    character(len=:), allocatable :: package_sha256   !! '' without a package.
    character(len=:), allocatable :: constraints_off  !! Those that were left out; '' for none.
    character(len=:), allocatable :: vertical_remap   !! '' where host and package share levels.
  end type run_provenance

contains

  !> The parts one by one: gfortran 12 spoils texts of deferred length in a structure constructor.
  function new_provenance(created, package_name, package_sha256, constraints_off, vertical_remap) &
    result(of)
    character(len=*), intent(in) :: created, package_name, package_sha256, constraints_off
    character(len=*), intent(in), optional :: vertical_remap
    type(run_provenance) :: of

    of%created = created
    of%package_name = package_name
    of%package_sha256 = package_sha256
    of%constraints_off = constraints_off
    of%vertical_remap = ''
    if (present(vertical_remap)) of%vertical_remap = vertical_remap
  end function new_provenance

  !> Writes the global attributes climlink_version, climlink_package, climlink_package_sha256,
  !! climlink_constraints_off, climlink_vertical_remap, creation_date and CF's history, as far as
  !! they are known. The file is in define mode.
  subroutine put_provenance(file, of, error)
    class(netcdf_file), intent(in) :: file
    type(run_provenance), intent(in) :: of
    character(len=:), allocatable, intent(inout) :: error
    character(len=:), allocatable :: history

    history = of%created // ': ' // program_name // ' ' // climlink_version()
    if (len(of%package_sha256) > 0) then
      history = history // ', package ' // of%package_name // ' sha256 ' // of%package_sha256
      if (len(of%constraints_off) > 0) history = history // ' without ' // of%constraints_off
      if (len(of%vertical_remap) > 0) history = history // ', remapped: ' // of%vertical_remap
    end if
    call put('climlink_version', climlink_version())
    call put('climlink_package', of%package_name)
    call put('climlink_package_sha256', of%package_sha256)
    call put('climlink_constraints_off', of%constraints_off)
    call put('climlink_vertical_remap', of%vertical_remap)
    if (len(of%created) == 0) return
    call put('creation_date', of%created)
    call put('history', history)

  contains

    subroutine put(name, text)
      character(len=*), intent(in) :: name, text

      if (len(text) == 0) return
      call attempt(error, file%path, nf90_put_att(file%id, nf90_global, name, text), name)
    end subroutine put
  end subroutine put_provenance

end module host_provenance
