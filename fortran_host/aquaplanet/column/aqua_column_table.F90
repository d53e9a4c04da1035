!> Named variables of many columns in one array [row, column]: a profile takes one row per level, a
!! scalar one. A column is contiguous, so columns are sent between ranks as they lie. The names are
!! ClimSim's (variables.yaml of climlink.wrappers).
module aqua_column_table
  use aqua_constants, only: r8
  implicit none (type, external)
  private

  public :: column_table, host_units, make_table, input_table, output_table

  integer, parameter, public :: name_length = 24

  character(len=*), parameter, public :: input_profiles(10) = &
    [character(len=name_length) :: 'state_t', 'state_q0001', &
    'state_q0002', 'state_q0003', 'state_u', 'state_v', 'state_pmid', 'pbuf_ozone', 'pbuf_CH4', &
    'pbuf_N2O']
  character(len=*), parameter, public :: input_scalars(17) = &
    [character(len=name_length) :: 'state_ps', 'pbuf_SOLIN', &
    'pbuf_LHFLX', 'pbuf_SHFLX', 'pbuf_TAUX', 'pbuf_TAUY', 'pbuf_COSZRS', 'cam_in_ALDIF', &
    'cam_in_ALDIR', 'cam_in_ASDIF', 'cam_in_ASDIR', 'cam_in_LWUP', 'cam_in_ICEFRAC', &
    'cam_in_LANDFRAC', 'cam_in_OCNFRAC', 'cam_in_SNOWHICE', 'cam_in_SNOWHLAND']
  character(len=*), parameter, public :: output_profiles(6) = &
    [character(len=name_length) :: 'ptend_t', 'ptend_q0001', &
    'ptend_q0002', 'ptend_q0003', 'ptend_u', 'ptend_v']
  character(len=*), parameter, public :: output_scalars(8) = &
    [character(len=name_length) :: 'cam_out_NETSW', 'cam_out_FLWDS', &
    'cam_out_PRECSC', 'cam_out_PRECC', 'cam_out_SOLS', 'cam_out_SOLL', 'cam_out_SOLSD', &
    'cam_out_SOLLD']

  type :: column_table
    integer :: n_column = 0
    character(len=name_length), allocatable :: names(:)
    integer, allocatable :: first(:)            !! First row of each variable.
    integer, allocatable :: width(:)            !! Rows of each variable: levels, or 1.
    real(r8), allocatable :: values(:, :)       !! [row, column]
  contains
    procedure :: find
    procedure :: has
    procedure :: row
    procedure :: section
  end type column_table

contains

  !> Units in which this host has a variable, as manifests write them; blank for names it does not
  !! know.
  pure function host_units(name) result(units)
    character(len=*), intent(in) :: name
    character(len=8) :: units
    integer :: first

    first = merge(4, 1, index(name, 'tm_') == 1)
    select case (name(first:))
    case ('state_t')
      units = 'K'
    case ('state_q0001', 'state_q0002', 'state_q0003', 'pbuf_ozone', 'pbuf_CH4', 'pbuf_N2O')
      units = 'kg/kg'
    case ('state_u', 'state_v', 'cam_out_PRECSC', 'cam_out_PRECC')
      units = 'm/s'
    case ('state_pmid', 'state_ps')
      units = 'Pa'
    case ('pbuf_SOLIN', 'pbuf_LHFLX', 'pbuf_SHFLX', 'cam_in_LWUP', 'cam_out_NETSW', &
          'cam_out_FLWDS', 'cam_out_SOLS', 'cam_out_SOLL', 'cam_out_SOLSD', 'cam_out_SOLLD')
      units = 'W/m2'
    case ('pbuf_TAUX', 'pbuf_TAUY')
      units = 'N/m2'
    case ('cam_in_SNOWHICE', 'cam_in_SNOWHLAND')
      units = 'm'
    case ('ptend_t', 'state_t_dyn', 'state_t_prvphy')
      units = 'K/s'
    case ('ptend_q0001', 'ptend_q0002', 'ptend_q0003', 'state_q0_dyn', 'state_q0001_prvphy', &
          'state_q0002_prvphy', 'state_q0003_prvphy')
      units = 'kg/kg/s'
    case ('ptend_u', 'ptend_v', 'state_u_dyn', 'state_u_prvphy')
      units = 'm/s2'
    case ('state_rh', 'pbuf_COSZRS', 'cam_in_ALDIF', 'cam_in_ALDIR', 'cam_in_ASDIF', &
          'cam_in_ASDIR', 'cam_in_ICEFRAC', 'cam_in_LANDFRAC', 'cam_in_OCNFRAC', 'clat', 'slat', &
          'icol')
      units = '1'
    case default
      units = ''
    end select
  end function host_units

  !> A table of profiles and scalars, in this order, all zero.
  pure function make_table(profiles, scalars, n_level, n_column) result(table)
    character(len=*), intent(in) :: profiles(:)
    character(len=*), intent(in) :: scalars(:)
    integer, intent(in) :: n_level
    integer, intent(in) :: n_column
    type(column_table) :: table
    integer :: n, i

    n = size(profiles) + size(scalars)
    table%n_column = n_column
    allocate (table%names(n), table%width(n), table%first(n))
    table%names(:size(profiles)) = profiles
    table%names(size(profiles) + 1:) = scalars
    table%width(:size(profiles)) = n_level
    table%width(size(profiles) + 1:) = 1
    do i = 1, n
      table%first(i) = sum(table%width(:i - 1)) + 1
    end do
    allocate (table%values(sum(table%width), n_column))
    table%values = 0.0_r8
  end function make_table

  !> All that a column brings to the emulated part, but for lagged inputs.
  pure function input_table(n_level, n_column) result(table)
    integer, intent(in) :: n_level
    integer, intent(in) :: n_column
    type(column_table) :: table

    table = make_table(input_profiles, input_scalars, n_level, n_column)
  end function input_table

  !> All that the emulated part makes of a column.
  pure function output_table(n_level, n_column) result(table)
    integer, intent(in) :: n_level
    integer, intent(in) :: n_column
    type(column_table) :: table

    table = make_table(output_profiles, output_scalars, n_level, n_column)
  end function output_table

  !> Position of a variable in names, first and width; 0 if the table has none of that name.
  pure function find(self, name) result(at)
    class(column_table), intent(in) :: self
    character(len=*), intent(in) :: name
    integer :: at

    do at = 1, size(self%names)
      if (self%names(at) == name) return
    end do
    at = 0
  end function find

  pure function has(self, name) result(yes)
    class(column_table), intent(in) :: self
    character(len=*), intent(in) :: name
    logical :: yes

    yes = self%find(name) > 0
  end function has

  !> First row of a variable that the table has.
  pure function row(self, name) result(first)
    class(column_table), intent(in) :: self
    character(len=*), intent(in) :: name
    integer :: first

    first = self%first(self%find(name))
  end function row

  !> The values [row, column] of a variable that the table has.
  pure function section(self, name) result(values)
    class(column_table), intent(in) :: self
    character(len=*), intent(in) :: name
    real(r8), allocatable :: values(:, :)
    integer :: at

    at = self%find(name)
    values = self%values(self%first(at):self%first(at) + self%width(at) - 1, :)
  end function section

end module aqua_column_table
