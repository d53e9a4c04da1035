!> Writes files in the mlo format of ClimSim: CDF-5, dimensions ncol and lev, float64. A file
!! appears under its name whole or not at all.
module replay_output
  use, intrinsic :: iso_fortran_env, only: real64
  use netcdf, only: nf90_copy_att, nf90_def_dim, nf90_def_var, nf90_double, nf90_enddef, &
                    nf90_global, nf90_inquire_attribute, nf90_int, nf90_noerr, nf90_put_att, &
                    nf90_put_var
  use climsim_files, only: climsim_field, climsim_file, read_integer
  use host_parallel, only: gather_columns, rank
  use host_provenance, only: put_provenance, run_provenance
  use netcdf_files, only: attempt, complete, create_beside, netcdf_file
  implicit none (type, external)
  private

  public :: write_mlo

  !> Attributes that ClimSim files carry.
  character(len=*), parameter :: copied_attributes(3) = [character(len=8) :: 'ne', 'fv_nphys', &
    'calendar']

  !> What is known of a file being written.
  type, extends(netcdf_file) :: output_file
    integer :: ymd = 0
    integer :: tod = 0
    integer, allocatable :: variables(:)
  end type output_file

contains

  !> Gathers the fields of all ranks and writes them on rank 0. Collective; error is set on rank 0
  !! only.
  subroutine write_mlo(path, input, fields, made_by, memory, error)
    character(len=*), intent(in) :: path                  !! Final name.
    type(climsim_file), intent(in) :: input               !! The mli file, still open.
    type(climsim_field), intent(in) :: fields(:)          !! In file order; this rank's columns.
    type(run_provenance), intent(in) :: made_by
    character(len=*), intent(in) :: memory                !! Origin of the carried state, or ''.
    character(len=:), allocatable, intent(out) :: error
    type(output_file) :: output

    error = ''
    if (rank == 0) call create(path, input, fields, made_by, memory, output, error)
    call write_fields(output, fields, error)
    if (rank == 0) call complete(output, error)
  end subroutine write_mlo

  subroutine create(path, input, fields, made_by, memory, output, error)
    character(len=*), intent(in) :: path
    type(climsim_file), intent(in) :: input
    type(climsim_field), intent(in) :: fields(:)
    type(run_provenance), intent(in) :: made_by
    character(len=*), intent(in) :: memory
    type(output_file), intent(out) :: output
    character(len=:), allocatable, intent(out) :: error
    integer :: column, level, i

    call create_beside(path, output%netcdf_file, error)
    if (len(error) > 0) return
    allocate (output%variables(size(fields)))
    call attempt(error, path, nf90_def_dim(output%id, 'ncol', input%n_column, column))
    call attempt(error, path, nf90_def_dim(output%id, 'lev', input%n_level, level))
    call attempt(error, path, nf90_def_var(output%id, 'ymd', nf90_int, output%ymd))
    call attempt(error, path, nf90_def_var(output%id, 'tod', nf90_int, output%tod))
    do i = 1, size(fields)
      call attempt(error, path, nf90_def_var(output%id, fields(i)%name, nf90_double, &
                                             pack([column, level], &
                                                  [.true., fields(i)%is_profile]), &
                                             output%variables(i)))
    end do
    call write_attributes(output, input, made_by, error)
    if (len(memory) > 0) then
      call attempt(error, path, nf90_put_att(output%id, nf90_global, 'climlink_carried_state', &
                                             memory))
    end if
    call attempt(error, path, nf90_enddef(output%id))
    if (len(error) == 0) call write_date(output, input, error)
  end subroutine create

  subroutine write_attributes(output, input, made_by, error)
    type(output_file), intent(in) :: output
    type(climsim_file), intent(in) :: input
    type(run_provenance), intent(in) :: made_by
    character(len=:), allocatable, intent(inout) :: error
    integer :: i

    do i = 1, size(copied_attributes)
      if (nf90_inquire_attribute(input%id, nf90_global, trim(copied_attributes(i))) &
          /= nf90_noerr) cycle
      call attempt(error, output%path, &
                   nf90_copy_att(input%id, nf90_global, trim(copied_attributes(i)), output%id, &
                                 nf90_global))
    end do
    call put_provenance(output, made_by, error)
    call attempt(error, output%path, nf90_put_att(output%id, nf90_global, 'climlink_source_file', &
                                                  input%path(index(input%path, '/', back=.true.) &
                                                             + 1:)))
  end subroutine write_attributes

  subroutine write_date(output, input, error)
    type(output_file), intent(in) :: output
    type(climsim_file), intent(in) :: input
    character(len=:), allocatable, intent(inout) :: error
    integer :: ymd, tod

    call read_integer(input, 'ymd', ymd, error)
    if (len(error) == 0) call read_integer(input, 'tod', tod, error)
    if (len(error) > 0) return
    call attempt(error, output%path, nf90_put_var(output%id, output%ymd, ymd))
    call attempt(error, output%path, nf90_put_var(output%id, output%tod, tod))
  end subroutine write_date

  !> Every rank takes part in every gathering, also after an error on rank 0.
  subroutine write_fields(output, fields, error)
    type(output_file), intent(in) :: output
    type(climsim_field), intent(in) :: fields(:)
    character(len=:), allocatable, intent(inout) :: error
    real(real64), allocatable :: columns(:, :)
    integer :: i

    do i = 1, size(fields)
      call gather_columns(fields(i)%values, columns)
      if (rank > 0 .or. len(error) > 0) cycle
      call attempt(error, output%path, nf90_put_var(output%id, output%variables(i), columns), &
                   fields(i)%name)
    end do
  end subroutine write_fields

end module replay_output
