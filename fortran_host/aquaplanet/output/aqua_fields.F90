!> The history fields of the embedded model: E3SM's names and units, and how each is made of the
!! model's state after a step.
module aqua_fields
  use aqua_column_table, only: column_table
  use aqua_constants, only: dry_air_gas, gravity, r8, virtual_factor
  use aqua_budgets, only: layer_mass
  use aqua_history, only: history_field
  use aqua_levels, only: interface_pressure
  use aqua_model, only: aquaplanet_model
  implicit none (type, external)
  private

  public :: profile_fields, surface_fields, profile_values, surface_values, moist_profiles, &
            moist_scalars

  integer, parameter :: moist_profiles = 14    ! without moist physics the first three remain
  integer, parameter :: moist_scalars = 19     ! without moist physics the first remains

contains

  !> Fields [level, column], in the order of profile_values.
  function profile_fields() result(fields)
    type(history_field), allocatable :: fields(:)

    fields = [ &
             history_field('T', 'Temperature', 'K', .true.), &
             history_field('U', 'Zonal wind', 'm/s', .true.), &
             history_field('V', 'Meridional wind', 'm/s', .true.), &
             history_field('OMEGA', 'Vertical velocity (pressure)', 'Pa/s', .true.), &
             history_field('Z3', 'Geopotential height (above sea level)', 'm', .true.), &
             history_field('Q', 'Specific humidity', 'kg/kg', .true.), &
             history_field('CLDLIQ', 'Grid box averaged cloud liquid amount', 'kg/kg', .true.), &
             history_field('CLDICE', 'Grid box averaged cloud ice amount', 'kg/kg', .true.), &
             history_field('DTPHYS', 'Temperature tendency of the emulated part', 'K/s', .true.), &
             history_field('DQ1PHYS', 'Vapour tendency of the emulated part', 'kg/kg/s', .true.), &
             history_field('DQ2PHYS', 'Cloud liquid tendency of the emulated part', 'kg/kg/s', &
                           .true.), &
             history_field('DQ3PHYS', 'Cloud ice tendency of the emulated part', 'kg/kg/s', &
                           .true.), &
             history_field('DUPHYS', 'Zonal wind tendency of the emulated part', 'm/s2', .true.), &
             history_field('DVPHYS', 'Meridional wind tendency of the emulated part', 'm/s2', &
                           .true.)]
  end function profile_fields

  !> Fields [column], in the order of surface_values.
  function surface_fields() result(fields)
    type(history_field), allocatable :: fields(:)

    fields = [ &
             history_field('PS', 'Surface pressure', 'Pa', .false.), &
             history_field('TS', 'Surface temperature (radiative)', 'K', .false.), &
             history_field('TMQ', 'Total (vertically integrated) precipitable water', 'kg/m2', &
                           .false.), &
             history_field('TGCLDLWP', 'Total grid-box cloud liquid water path', 'kg/m2', &
                           .false.), &
             history_field('TGCLDIWP', 'Total grid-box cloud ice water path', 'kg/m2', .false.), &
             history_field('PRECT', 'Total (convective and large-scale) precipitation rate', &
                           'm/s', .false.), &
             history_field('PRECSC', 'Snow rate (water equivalent)', 'm/s', .false.), &
             history_field('FSNT', 'Net solar flux at top of model', 'W/m2', .false.), &
             history_field('FLUT', 'Upwelling longwave flux at top of model', 'W/m2', .false.), &
             history_field('FSNS', 'Net solar flux at surface', 'W/m2', .false.), &
             history_field('FLDS', 'Downwelling longwave flux at surface', 'W/m2', .false.), &
             history_field('FLNS', 'Net longwave flux at surface', 'W/m2', .false.), &
             history_field('SOLIN', 'Solar insolation', 'W/m2', .false.), &
             history_field('LHFLX', 'Surface latent heat flux', 'W/m2', .false.), &
             history_field('SHFLX', 'Surface sensible heat flux', 'W/m2', .false.), &
             history_field('TAUX', 'Zonal surface stress on the atmosphere', 'N/m2', .false.), &
             history_field('TAUY', 'Meridional surface stress on the atmosphere', 'N/m2', &
                           .false.), &
             history_field('SOLSD', 'Solar downward visible diffuse to surface', 'W/m2', .false.), &
             history_field('SOLLD', 'Solar downward near infrared diffuse to surface', 'W/m2', &
                           .false.)]
  end function surface_fields

  !> Values of the profile field of this position [level, column].
  function profile_values(model, position) result(values)
    type(aquaplanet_model), intent(in) :: model
    integer, intent(in) :: position
    real(r8), allocatable :: values(:, :)

    select case (position)
    case (1)
      values = model%core%t
    case (2)
      values = model%core%u
    case (3)
      values = model%core%v
    case (4)
      values = model%core%omega
    case (5)
      values = heights(model)
    case (6:8)
      values = model%tracers(position - 5, :, :)
    case default
      ! ptend_t, ptend_q0001, ... are the first profiles of the results.
      values = model%worker%results%section(model%worker%results%names(position - 8))
    end select
  end function profile_values

  !> Values of the surface field of this position [column].
  function surface_values(model, position) result(values)
    type(aquaplanet_model), intent(in) :: model
    integer, intent(in) :: position
    real(r8), allocatable :: values(:)

    associate (given => model%before, made => model%worker%results)
      select case (position)
      case (1)
        values = model%core%ps
      case (2)
        values = model%sst
      case (3:5)
        values = paths(model, position - 2)
      case (6)
        values = scalar(made, 'cam_out_PRECC')
      case (7)
        values = scalar(made, 'cam_out_PRECSC')
      case (8)
        values = scalar(made, 'FSNT')
      case (9)
        values = scalar(made, 'FLUT')
      case (10)
        values = scalar(made, 'cam_out_NETSW')
      case (11)
        values = scalar(made, 'cam_out_FLWDS')
      case (12)
        values = scalar(given, 'cam_in_LWUP') - scalar(made, 'cam_out_FLWDS')
      case (13)
        values = scalar(given, 'pbuf_SOLIN')
      case (14)
        values = scalar(made, 'pbuf_LHFLX')
      case (15)
        values = scalar(made, 'pbuf_SHFLX')
      case (16)
        values = scalar(made, 'pbuf_TAUX')
      case (17)
        values = scalar(made, 'pbuf_TAUY')
      case (18)
        values = scalar(made, 'cam_out_SOLSD')
      case default
        values = scalar(made, 'cam_out_SOLLD')
      end select
    end associate
  end function surface_values

  pure function scalar(table, name) result(values)
    type(column_table), intent(in) :: table
    character(len=*), intent(in) :: name
    real(r8), allocatable :: values(:)

    values = table%values(table%row(name), :)
  end function scalar

  !> Mass of one kind of water in every column [column], kg/m2.
  function paths(model, tracer) result(path)
    type(aquaplanet_model), intent(in) :: model
    integer, intent(in) :: tracer
    real(r8) :: path(model%grid%n_column)
    integer :: column

    do column = 1, model%grid%n_column
      path(column) = sum(layer_mass(model%levels, model%core%ps(column)) * model%tracers(tracer, &
        :, column))
    end do
  end function paths

  !> Height of midpoints [level, column] in m, by the hydrostatic relation (Simmons and Burridge
  !! 1981, eq. 3.21).
  function heights(model) result(z)
    type(aquaplanet_model), intent(in) :: model
    real(r8) :: z(model%levels%n_level, model%grid%n_column)
    real(r8) :: p(model%levels%n_level + 1), below, thickness, alpha
    integer :: column, k

    do column = 1, model%grid%n_column
      p = interface_pressure(model%levels, model%core%ps(column))
      below = model%core%surface_geopotential(column)
      do k = model%levels%n_level, 1, -1
        thickness = dry_air_gas * model%core%t(k, &
          column) * (1.0_r8 + virtual_factor * model%tracers(1, k, column))
        alpha = 1.0_r8 - p(k) / (p(k + 1) - p(k)) * log(p(k + 1) / p(k))
        z(k, column) = (below + alpha * thickness) / gravity
        below = below + thickness * log(p(k + 1) / p(k))
      end do
    end do
  end function heights

end module aqua_fields
