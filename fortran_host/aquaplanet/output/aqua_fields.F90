!> The history fields of the embedded model: E3SM's names and units, and where their values are in
!! the model after a step.
module aqua_fields
  use aqua_budgets, only: layer_mass
  use aqua_constants, only: dry_air_gas, gravity, i_ice, i_liquid, i_vapor, r8, virtual_factor
  use aqua_history, only: history_field
  use aqua_levels, only: interface_pressure
  use aqua_model, only: aquaplanet_model
  implicit none (type, external)
  private

  public :: model_fields

  !> A field and its values.
  type :: model_field
    type(history_field) :: is
    real(r8), pointer :: values(:, :) => null()              !! [level, column], or [1, column]
  end type model_field

  !> All fields of a run, profiles first. The values are the model's own, where it has them.
  type :: model_fields
    type(model_field), allocatable :: all(:)
    real(r8), pointer, private :: heights(:, :) => null()
    real(r8), pointer, dimension(:), private :: vapor => null(), liquid => null(), ice => null(), &
                                                longwave => null()
  contains
    procedure :: initialize, update
    procedure, private :: add_profile, add_scalar
    generic, private :: add => add_profile, add_scalar
  end type model_fields

contains

  !> Declares the fields; those of moist physics only where there is one.
  subroutine initialize(self, model)
    class(model_fields), intent(inout) :: self
    type(aquaplanet_model), intent(in), target :: model      !! Stays where it is.

    allocate (self%all(0), self%heights(model%levels%n_level, model%grid%n_column))
    associate (core => model%core, made => model%worker%results, q => model%tracers)
      call self%add('T', 'Temperature', 'K', core%t)
      call self%add('U', 'Zonal wind', 'm/s', core%u)
      call self%add('V', 'Meridional wind', 'm/s', core%v)
      call self%add('OMEGA', 'Vertical velocity (pressure)', 'Pa/s', core%omega)
      call self%add('Z3', 'Geopotential height (above sea level)', 'm', self%heights)
      if (model%settings%run%physics == 'moist') then
        call self%add('Q', 'Specific humidity', 'kg/kg', q(i_vapor, :, :))
        call self%add('CLDLIQ', 'Grid box averaged cloud liquid amount', 'kg/kg', q(i_liquid, :, :))
        call self%add('CLDICE', 'Grid box averaged cloud ice amount', 'kg/kg', q(i_ice, :, :))
        call self%add('DTPHYS', 'Temperature tendency of the emulated part', 'K/s', made%dtdt)
        call self%add('DQ1PHYS', 'Vapour tendency of the emulated part', 'kg/kg/s', made%dqdt)
        call self%add('DQ2PHYS', 'Cloud liquid tendency of the emulated part', 'kg/kg/s', &
                      made%dqcdt)
        call self%add('DQ3PHYS', 'Cloud ice tendency of the emulated part', 'kg/kg/s', made%dqidt)
        call self%add('DUPHYS', 'Zonal wind tendency of the emulated part', 'm/s2', made%dudt)
        call self%add('DVPHYS', 'Meridional wind tendency of the emulated part', 'm/s2', made%dvdt)
      end if
      call self%add('PS', 'Surface pressure', 'Pa', core%ps)
    end associate
    if (model%settings%run%physics == 'moist') call add_surface(self, model)
  end subroutine initialize

  !> Declares what moist physics makes at the surface and the top.
  subroutine add_surface(self, model)
    type(model_fields), intent(inout) :: self
    type(aquaplanet_model), intent(in), target :: model

    associate (n => model%grid%n_column)
      allocate (self%vapor(n), self%liquid(n), self%ice(n), self%longwave(n))
    end associate
    associate (given => model%before, made => model%worker%results, host => model%worker%host)
      call self%add('TS', 'Surface temperature (radiative)', 'K', model%sst)
      call self%add('TMQ', 'Total (vertically integrated) precipitable water', 'kg/m2', self%vapor)
      call self%add('TGCLDLWP', 'Total grid-box cloud liquid water path', 'kg/m2', self%liquid)
      call self%add('TGCLDIWP', 'Total grid-box cloud ice water path', 'kg/m2', self%ice)
      call self%add('PRECT', 'Total (convective and large-scale) precipitation rate', 'm/s', &
                    made%precc)
      call self%add('PRECSC', 'Snow rate (water equivalent)', 'm/s', made%precsc)
      call self%add('FSNT', 'Net solar flux at top of model', 'W/m2', host%fsnt)
      call self%add('FLUT', 'Upwelling longwave flux at top of model', 'W/m2', host%flut)
      call self%add('FSNS', 'Net solar flux at surface', 'W/m2', made%netsw)
      call self%add('FLDS', 'Downwelling longwave flux at surface', 'W/m2', made%flwds)
      call self%add('FLNS', 'Net longwave flux at surface', 'W/m2', self%longwave)
      call self%add('SOLIN', 'Solar insolation', 'W/m2', given%solin)
      call self%add('LHFLX', 'Surface latent heat flux', 'W/m2', host%lhflx)
      call self%add('SHFLX', 'Surface sensible heat flux', 'W/m2', host%shflx)
      call self%add('TAUX', 'Zonal surface stress on the atmosphere', 'N/m2', host%taux)
      call self%add('TAUY', 'Meridional surface stress on the atmosphere', 'N/m2', host%tauy)
      call self%add('SOLSD', 'Solar downward visible diffuse to surface', 'W/m2', made%solsd)
      call self%add('SOLLD', 'Solar downward near infrared diffuse to surface', 'W/m2', made%solld)
    end associate
  end subroutine add_surface

  subroutine add_profile(self, name, long_name, units, values)
    class(model_fields), intent(inout) :: self
    character(len=*), intent(in) :: name, long_name, units
    real(r8), intent(in), target :: values(:, :)             !! [level, column]

    self%all = [self%all, model_field(history_field(name, long_name, units, .true.), values)]
  end subroutine add_profile

  subroutine add_scalar(self, name, long_name, units, values)
    class(model_fields), intent(inout) :: self
    character(len=*), intent(in) :: name, long_name, units
    real(r8), intent(in), target :: values(:)                !! [column]
    type(model_field) :: field

    field%is = history_field(name, long_name, units)
    field%values(1:1, 1:size(values)) => values
    self%all = [self%all, field]
  end subroutine add_scalar

  !> Makes the values that the model has not itself, after a step.
  subroutine update(self, model, needs_profiles)
    class(model_fields), intent(inout) :: self
    type(aquaplanet_model), intent(in) :: model
    logical, intent(in) :: needs_profiles

    if (needs_profiles) self%heights = heights(model)
    if (.not. associated(self%vapor)) return
    self%vapor = path(model, i_vapor)
    self%liquid = path(model, i_liquid)
    self%ice = path(model, i_ice)
    self%longwave = model%before%lwup - model%worker%results%flwds
  end subroutine update

  !> Mass of one kind of water in every column [column], kg/m2.
  function path(model, tracer)
    type(aquaplanet_model), intent(in) :: model
    integer, intent(in) :: tracer
    real(r8) :: path(model%grid%n_column)
    integer :: column

    do column = 1, model%grid%n_column
      path(column) = sum(layer_mass(model%levels, model%core%ps(column)) * model%tracers(tracer, &
        :, column))
    end do
  end function path

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
          column) * (1.0_r8 + virtual_factor * model%tracers(i_vapor, k, column))
        alpha = 1.0_r8 - p(k) / (p(k + 1) - p(k)) * log(p(k + 1) / p(k))
        z(k, column) = (below + alpha * thickness) / gravity
        below = below + thickness * log(p(k + 1) / p(k))
      end do
    end do
  end function heights

end module aqua_fields
