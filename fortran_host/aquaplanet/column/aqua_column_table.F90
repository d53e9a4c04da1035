!> The variables of many columns: what a column brings to the emulated part, what that makes of it,
!! and what the host adds. Each is declared once, by the statement that gives a name of ClimSim
!! (variables.yaml of climlink.wrappers) and units to a component.
!!
!! A table keeps all its values in one array [row, column], a profile in one row per level, a scalar
!! in one; its components point into it. A column is contiguous, so columns are sent between ranks
!! as they lie. Tables refer to their values: a copy of a table has the same ones.
module aqua_column_table
  use aqua_constants, only: r8
  use climlink, only: climlink_host_fields
  implicit none (type, external)
  private

  public :: column_table, column_variable, input_columns, place_columns, output_columns, &
            host_columns

  integer, parameter, public :: name_length = 24

  !> A variable and its rows.
  type :: column_variable
    character(len=name_length) :: name = ''
    character(len=8) :: units = ''
    logical :: has_levels = .false.
    integer :: first = 0, last = 0
    logical :: is_pressure = .false.            !! At midpoints of the levels.
    character(len=name_length) :: species = ''  !! Water that it changes.
  end type column_variable

  type, abstract :: column_table
    integer :: n_column = 0, n_level = 0
    type(column_variable), allocatable :: variables(:)
    real(r8), pointer, contiguous :: values(:, :) => null()    !! [row, column]
  contains
    procedure :: make, view, add_to
    procedure(declare_variables), deferred :: declare
    procedure, private :: declare_anew, add_profile, add_scalar, append
    generic :: add => add_profile, add_scalar
  end type column_table

  abstract interface
    !> Adds all variables of the table.
    subroutine declare_variables(self)
      import :: column_table
      implicit none (type, external)
      class(column_table), intent(inout), target :: self
    end subroutine declare_variables
  end interface

  !> All that a column brings to the emulated part, but for lagged inputs; in the order of ClimSim's
  !! mli files.
  type, extends(column_table) :: input_columns
    !> Albedos
    real(r8), pointer, dimension(:) :: aldif => null(), aldir => null(), asdif => null(), &
      asdir => null()
    !> Shares of the surface
    real(r8), pointer, dimension(:) :: icefrac => null(), landfrac => null(), ocnfrac => null()
    !> From the surface
    real(r8), pointer, dimension(:) :: lwup => null()
    real(r8), pointer, dimension(:) :: snowhice => null(), snowhland => null()
    !> Sun
    real(r8), pointer, dimension(:) :: coszrs => null(), solin => null()
    !> Of the last step, upward
    real(r8), pointer, dimension(:) :: lhflx => null(), shflx => null(), taux => null(), &
      tauy => null()
    real(r8), pointer, dimension(:) :: ps => null()
    real(r8), pointer, dimension(:, :) :: p_mid => null(), q => null(), qc => null(), &
      qi => null(), t => null(), u => null(), v => null(), ch4 => null(), n2o => null(), &
      ozone => null()
  contains
    procedure :: declare => declare_inputs
    procedure, nopass :: add_humidity_to
  end type input_columns

  !> Where a column is, for packages that want to know.
  type, extends(column_table) :: place_columns
    !> Cosine and sine of latitude, and the number of the column from 1
    real(r8), pointer, dimension(:) :: clat => null(), slat => null(), icol => null()
  contains
    procedure :: declare => declare_places
  end type place_columns

  !> All that the emulated part makes of a column; in the order of ClimSim's mlo files, where a
  !! tendency stands for the state after it.
  type, extends(column_table) :: output_columns
    real(r8), pointer, dimension(:) :: flwds => null(), netsw => null(), precc => null(), &
      precsc => null(), soll => null(), solld => null(), sols => null(), solsd => null()
    real(r8), pointer, dimension(:, :) :: dqdt => null(), dqcdt => null(), dqidt => null(), &
      dtdt => null(), dudt => null(), dvdt => null()
  contains
    procedure :: declare => declare_outputs
  end type output_columns

  !> What the host itself makes of a column: what it adds to the state after the emulated part, over
  !! one step; the surface fluxes, which the next step's emulated part is given; diagnostics. The
  !! names are the host's own.
  type, extends(column_table) :: host_columns
    real(r8), pointer, dimension(:, :) :: added_t => null(), added_q => null(), &
      added_u => null(), added_v => null()
    real(r8), pointer, dimension(:) :: lhflx => null(), shflx => null(), taux => null(), &
      tauy => null()
    !> At the top, net and out
    real(r8), pointer, dimension(:) :: fsnt => null(), flut => null()
    !> By keeping water positive
    real(r8), pointer, dimension(:) :: limiter_water => null(), limited_cells => null()
    !> By the range policy of the package that feeds back
    real(r8), pointer, dimension(:) :: range_clipped => null(), range_heating => null(), &
      range_mass_share => null()
  contains
    procedure :: declare => declare_host
  end type host_columns

contains

  subroutine declare_inputs(self)
    class(input_columns), intent(inout), target :: self

    call self%add('cam_in_ALDIF', '1', self%aldif)
    call self%add('cam_in_ALDIR', '1', self%aldir)
    call self%add('cam_in_ASDIF', '1', self%asdif)
    call self%add('cam_in_ASDIR', '1', self%asdir)
    call self%add('cam_in_ICEFRAC', '1', self%icefrac)
    call self%add('cam_in_LANDFRAC', '1', self%landfrac)
    call self%add('cam_in_LWUP', 'W/m2', self%lwup)
    call self%add('cam_in_OCNFRAC', '1', self%ocnfrac)
    call self%add('cam_in_SNOWHICE', 'm', self%snowhice)
    call self%add('cam_in_SNOWHLAND', 'm', self%snowhland)
    call self%add('pbuf_COSZRS', '1', self%coszrs)
    call self%add('pbuf_LHFLX', 'W/m2', self%lhflx)
    call self%add('pbuf_SHFLX', 'W/m2', self%shflx)
    call self%add('pbuf_SOLIN', 'W/m2', self%solin)
    call self%add('pbuf_TAUX', 'N/m2', self%taux)
    call self%add('pbuf_TAUY', 'N/m2', self%tauy)
    call self%add('state_pmid', 'Pa', self%p_mid, is_pressure=.true.)
    call self%add('state_ps', 'Pa', self%ps)
    call self%add('state_q0001', 'kg/kg', self%q)
    call self%add('state_q0002', 'kg/kg', self%qc)
    call self%add('state_q0003', 'kg/kg', self%qi)
    call self%add('state_t', 'K', self%t)
    call self%add('state_u', 'm/s', self%u)
    call self%add('state_v', 'm/s', self%v)
    call self%add('pbuf_CH4', 'kg/kg', self%ch4)
    call self%add('pbuf_N2O', 'kg/kg', self%n2o)
    call self%add('pbuf_ozone', 'kg/kg', self%ozone)
  end subroutine declare_inputs

  subroutine declare_places(self)
    class(place_columns), intent(inout), target :: self

    call self%add('clat', '1', self%clat)
    call self%add('slat', '1', self%slat)
    call self%add('icol', '1', self%icol)
  end subroutine declare_places

  subroutine declare_outputs(self)
    class(output_columns), intent(inout), target :: self

    call self%add('cam_out_FLWDS', 'W/m2', self%flwds)
    call self%add('cam_out_NETSW', 'W/m2', self%netsw)
    call self%add('cam_out_PRECC', 'm/s', self%precc)
    call self%add('cam_out_PRECSC', 'm/s', self%precsc)
    call self%add('cam_out_SOLL', 'W/m2', self%soll)
    call self%add('cam_out_SOLLD', 'W/m2', self%solld)
    call self%add('cam_out_SOLS', 'W/m2', self%sols)
    call self%add('cam_out_SOLSD', 'W/m2', self%solsd)
    call self%add('ptend_q0001', 'kg/kg/s', self%dqdt, species='state_q0001')
    call self%add('ptend_q0002', 'kg/kg/s', self%dqcdt, species='state_q0002')
    call self%add('ptend_q0003', 'kg/kg/s', self%dqidt, species='state_q0003')
    call self%add('ptend_t', 'K/s', self%dtdt)
    call self%add('ptend_u', 'm/s2', self%dudt)
    call self%add('ptend_v', 'm/s2', self%dvdt)
  end subroutine declare_outputs

  subroutine declare_host(self)
    class(host_columns), intent(inout), target :: self

    call self%add('added_t', 'K', self%added_t)
    call self%add('added_q', 'kg/kg', self%added_q)
    call self%add('added_u', 'm/s', self%added_u)
    call self%add('added_v', 'm/s', self%added_v)
    call self%add('LHFLX', 'W/m2', self%lhflx)
    call self%add('SHFLX', 'W/m2', self%shflx)
    call self%add('TAUX', 'N/m2', self%taux)
    call self%add('TAUY', 'N/m2', self%tauy)
    call self%add('FSNT', 'W/m2', self%fsnt)
    call self%add('FLUT', 'W/m2', self%flut)
    call self%add('limiter_water', 'kg/m2', self%limiter_water)
    call self%add('limited_cells', '1', self%limited_cells)
    call self%add('range_clipped', '1', self%range_clipped)
    call self%add('range_heating', 'W/m2', self%range_heating)
    call self%add('range_mass_share', '1', self%range_mass_share)
  end subroutine declare_host

  !> Makes the table for n_column columns, all zero.
  subroutine make(self, n_level, n_column)
    class(column_table), intent(inout), target :: self
    integer, intent(in) :: n_level, n_column

    self%n_level = n_level
    self%n_column = n_column
    self%values => null()
    call self%declare_anew()                         ! to count the rows
    allocate (self%values(self%variables(size(self%variables))%last, n_column), source=0.0_r8)
    call self%declare_anew()
  end subroutine make

  !> Makes this a view of count columns of a table of the same kind, from first on.
  subroutine view(self, of, first, count)
    class(column_table), intent(inout), target :: self
    class(column_table), intent(in) :: of
    integer, intent(in) :: first, count

    self%n_level = of%n_level
    self%n_column = count
    self%values => of%values(:, first:first + count - 1)
    call self%declare_anew()
  end subroutine view

  !> Adds all variables to what the host gives to an emulator, or takes from it.
  subroutine add_to(self, fields, taken)
    class(column_table), intent(in) :: self
    type(climlink_host_fields), intent(inout) :: fields
    logical, intent(in), optional :: taken
    integer :: i

    do i = 1, size(self%variables)
      associate (of => self%variables(i))
        if (of%has_levels) then
          call fields%add_profile(of%name, of%units, self%values(of%first:of%last, :), taken, &
                                  'level sample', of%is_pressure, of%species)
        else
          call fields%add_scalar(of%name, of%units, self%values(of%first, :), taken)
        end if
      end associate
    end do
  end subroutine add_to

  !> Adds what is made of the columns where a package wants it.
  subroutine add_humidity_to(fields)
    type(climlink_host_fields), intent(inout) :: fields

    call fields%add_relative_humidity('state_rh', pressure='state_pmid', temperature='state_t', &
                                      vapor='state_q0001')
  end subroutine add_humidity_to

  subroutine declare_anew(self)
    class(column_table), intent(inout), target :: self

    self%variables = [column_variable ::]
    call self%declare()
  end subroutine declare_anew

  subroutine add_profile(self, name, units, values, is_pressure, species)
    class(column_table), intent(inout), target :: self
    character(len=*), intent(in) :: name, units
    real(r8), pointer, intent(inout) :: values(:, :)        !! [level, column]
    logical, intent(in), optional :: is_pressure
    character(len=*), intent(in), optional :: species
    type(column_variable) :: variable

    variable = column_variable(name, units, has_levels=.true.)
    if (present(is_pressure)) variable%is_pressure = is_pressure
    if (present(species)) variable%species = species
    call self%append(variable, self%n_level)
    associate (rows => self%variables(size(self%variables)))
      if (associated(self%values)) values => self%values(rows%first:rows%last, :)
    end associate
  end subroutine add_profile

  subroutine add_scalar(self, name, units, values)
    class(column_table), intent(inout), target :: self
    character(len=*), intent(in) :: name, units
    real(r8), pointer, intent(inout) :: values(:)           !! [column]

    call self%append(column_variable(name, units), 1)
    associate (rows => self%variables(size(self%variables)))
      if (associated(self%values)) values => self%values(rows%first, :)
    end associate
  end subroutine add_scalar

  subroutine append(self, variable, width)
    class(column_table), intent(inout) :: self
    type(column_variable), intent(in) :: variable
    integer, intent(in) :: width
    type(column_variable) :: added

    added = variable
    if (size(self%variables) > 0) added%first = self%variables(size(self%variables))%last
    added%first = added%first + 1
    added%last = added%first + width - 1
    self%variables = [self%variables, added]
  end subroutine append

end module aqua_column_table
