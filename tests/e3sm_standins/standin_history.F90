! Stand-in of the history: what is written goes, column by column, into one file per rank, with
! whatever the driver adds.
module cam_history
  use cam_abortutils, only: endrun
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none
  private
  public :: addfld, outfld, add_default, horiz_only, standin_open_history, standin_record

  character(len=10), parameter :: horiz_only = 'horiz_only'
  integer, parameter :: most_fields = 2000
  character(len=34) :: names(most_fields)
  integer :: widths(most_fields)
  integer :: n_field = 0
  integer :: unit

  interface addfld
    module procedure addfld_1d, addfld_nd
  end interface addfld

  interface outfld
    module procedure outfld_1d, outfld_2d
  end interface outfld

contains

  subroutine standin_open_history(path)
    character(len=*), intent(in) :: path

    open (newunit=unit, file=path, access='stream', status='replace')
  end subroutine standin_open_history

  subroutine addfld_1d(fname, vdim_name, avgflag, units, long_name, gridname, flag_xyfill, &
                       sampling_seq, standard_name, fill_value)
    character(len=*), intent(in) :: fname, vdim_name
    character(len=1), intent(in) :: avgflag
    character(len=*), intent(in) :: units, long_name
    character(len=*), intent(in), optional :: gridname, sampling_seq, standard_name
    logical, intent(in), optional :: flag_xyfill
    real(r8), intent(in), optional :: fill_value

    if (vdim_name /= horiz_only) call endrun('addfld: ' // vdim_name)
    call add(fname, 1, avgflag // units // long_name, present(gridname) .or. present(flag_xyfill) &
             .or. present(sampling_seq) .or. present(standard_name) .or. present(fill_value))
  end subroutine addfld_1d

  subroutine addfld_nd(fname, dimnames, avgflag, units, long_name, gridname, flag_xyfill, &
                       sampling_seq, standard_name, fill_value)
    use ppgrid, only: pver
    character(len=*), intent(in) :: fname
    character(len=*), intent(in) :: dimnames(:)
    character(len=1), intent(in) :: avgflag
    character(len=*), intent(in) :: units, long_name
    character(len=*), intent(in), optional :: gridname, sampling_seq, standard_name
    logical, intent(in), optional :: flag_xyfill
    real(r8), intent(in), optional :: fill_value

    if (size(dimnames) /= 1 .or. dimnames(1) /= 'lev') call endrun('addfld: ' // dimnames(1))
    call add(fname, pver, avgflag // units // long_name, present(gridname) &
             .or. present(flag_xyfill) .or. present(sampling_seq) .or. present(standard_name) &
             .or. present(fill_value))
  end subroutine addfld_nd

  subroutine add(fname, width, text, has_options)
    character(len=*), intent(in) :: fname, text
    integer, intent(in) :: width
    logical, intent(in) :: has_options

    if (has_options .or. len(text) > 300) call endrun('addfld: ' // fname)
    if (len(fname) > 24 .or. any(names(:n_field) == fname)) call endrun( &
      'addfld: too long or there already: ' // fname)
    n_field = n_field + 1
    names(n_field) = fname
    widths(n_field) = width
  end subroutine add

  subroutine add_default(name, tindex, flag)
    character(len=*), intent(in) :: name
    integer, intent(in) :: tindex
    character(len=1), intent(in) :: flag

    if (tindex < 1 .or. flag == ' ') call endrun('add_default: ' // name)
  end subroutine add_default

  subroutine outfld_1d(fname, field, idim, c, avg_subcol_field)
    character(len=*), intent(in) :: fname
    integer, intent(in) :: idim
    real(r8), intent(in) :: field(idim)
    integer, intent(in) :: c
    logical, optional, intent(in) :: avg_subcol_field

    call require(fname, 1, present(avg_subcol_field))
    call standin_record(fname, reshape(field, [idim, 1]), c)
  end subroutine outfld_1d

  subroutine outfld_2d(fname, field, idim, c, avg_subcol_field)
    use ppgrid, only: pver
    character(len=*), intent(in) :: fname
    integer, intent(in) :: idim
    real(r8), intent(in) :: field(idim, pver)
    integer, intent(in) :: c
    logical, optional, intent(in) :: avg_subcol_field

    call require(fname, pver, present(avg_subcol_field))
    call standin_record(fname, field, c)
  end subroutine outfld_2d

  subroutine require(fname, width, has_options)
    character(len=*), intent(in) :: fname
    integer, intent(in) :: width
    logical, intent(in) :: has_options

    if (has_options &
        .or. .not. any(names(:n_field) == fname .and. widths(:n_field) &
                       == width)) call endrun('outfld: ' // fname)
  end subroutine require

  ! Name, model step, global column, number of values, values.
  subroutine standin_record(name, field, c)
    use phys_grid, only: get_gcol_p, get_ncols_p
    use time_manager, only: get_nstep
    character(len=*), intent(in) :: name
    real(r8), intent(in) :: field(:, :)
    integer, intent(in) :: c
    character(len=24) :: text
    integer :: i

    text = name
    do i = 1, get_ncols_p(c)
      write (unit) text, get_nstep(), get_gcol_p(c, i), size(field, 2), field(i, :)
    end do
  end subroutine standin_record

end module cam_history
