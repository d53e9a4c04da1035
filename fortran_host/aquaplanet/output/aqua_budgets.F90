!> Global budgets of energy, water and axial angular momentum, as sums over the whole grid in one
!! order on every rank.
!!
!! Energy of a column [J/m2]: sum of (cp T + K + phi_s + Lv q - Lf q_ice) dp/g, with liquid water as
!! the reference; its change over a step is what crosses the top and the surface. With pressure as
!! coordinate and a lid at constant pressure, cp T + phi_s stands for internal plus potential energy
!! (Kasahara 1974, Mon. Wea. Rev. 102, 509).
module aqua_budgets
  use aqua_constants, only: earth_radius, earth_rotation, gravity, heat_capacity, i_ice, i_vapor, &
                            latent_fusion, latent_vaporization, pi, r8
  use aqua_grid, only: gaussian_grid
  use aqua_levels, only: hybrid_levels, interface_pressure
  implicit none (type, external)
  private

  public :: global_mean, column_energy, column_water, angular_momentum, zonal_torque, layer_mass, &
            budget_row, budget_layout, write_budget_row, find_budget_row

  !> What is recorded of one step.
  type :: budget_row
    integer :: step = 0
    real(r8) :: day = 0.0_r8                     !! Since the start of the case.
    real(r8) :: energy = 0.0_r8                  !! After the step [J/m2].
    real(r8) :: toa_net = 0.0_r8                 !! Absorbed sunlight less outgoing longwave [W/m2],
                                                 !! where the reference physics is applied alone.
    real(r8) :: toa_net_inferred = 0.0_r8        !! What must cross the top so that the columns gain
                                                 !! the energy that they do [W/m2].
    real(r8) :: surface_net = 0.0_r8             !! Into the surface: radiation less turbulent
                                                 !! fluxes less melting of snow [W/m2].
    real(r8) :: energy_fixer = 0.0_r8            !! Given back for what the dynamics lost [W/m2].
    real(r8) :: emulated_energy_residual = 0.0_r8  !! Column energy that the emulated part made from
                                                   !! nothing [W/m2].
    real(r8) :: water = 0.0_r8                   !! Vapour and cloud after the step [kg/m2].
    real(r8) :: precipitation = 0.0_r8           !! [mm/day]
    real(r8) :: evaporation = 0.0_r8             !! [mm/day]
    real(r8) :: transport_water = 0.0_r8         !! What transport added to the water [mm/day].
    real(r8) :: emulated_water_residual = 0.0_r8  !! Column water that the emulated part made from
                                                  !! nothing [mm/day].
    real(r8) :: limiter_water = 0.0_r8           !! Added by the host where a tendency would have
                                                 !! made water negative [mm/day].
    real(r8) :: limited_cells = 0.0_r8           !! Number of cells and species so limited.
    real(r8) :: angular_momentum = 0.0_r8        !! Axial, after the step [kg/s per m2 of surface].
    real(r8) :: surface_torque = 0.0_r8          !! By surface stress [N/m].
    real(r8) :: emulated_torque = 0.0_r8         !! By the emulated part [N/m].
    real(r8) :: temperature_min = 0.0_r8         !! [K]
    real(r8) :: temperature_max = 0.0_r8         !! [K]
    real(r8) :: wind_max = 0.0_r8                !! [m/s]
    real(r8) :: surface_pressure = 0.0_r8        !! Global mean [Pa].
    real(r8) :: range_clipped = 0.0_r8           !! Values per column that the network sees clipped.
    real(r8) :: range_heating = 0.0_r8           !! Without its sign, by relaxation toward the
                                                 !! training range [W/m2].
    real(r8) :: range_mass_share = 0.0_r8        !! Share of the mass that is relaxed.
  end type budget_row

  !> The columns of a run's table: those of every run, and what an emulator that feeds back changes.
  type :: budget_layout
    logical :: has_emulator = .false.            !! toa_net is the inferred one, named so.
    logical :: has_range_policy = .false.        !! Three more columns.
  contains
    procedure :: names, values
  end type budget_layout

  integer, parameter :: row_length = 1024          ! more than any row has

contains

  !> Area-weighted mean of a field [column].
  pure function global_mean(grid, field) result(mean)
    type(gaussian_grid), intent(in) :: grid
    real(r8), intent(in) :: field(:)
    real(r8) :: mean
    integer :: column

    mean = 0.0_r8
    do column = 1, grid%n_column
      mean = mean + grid%area(column) * field(column)
    end do
    mean = mean / (4.0_r8 * pi)
  end function global_mean

  !> Mass of air per area of each layer [level] in kg/m2.
  pure function layer_mass(levels, ps) result(mass)
    type(hybrid_levels), intent(in) :: levels
    real(r8), intent(in) :: ps                       !! [Pa]
    real(r8) :: mass(levels%n_level)
    real(r8) :: p(levels%n_level + 1)

    p = interface_pressure(levels, ps)
    mass = (p(2:) - p(:levels%n_level)) / gravity
  end function layer_mass

  !> Energy of every column [column] in J/m2.
  pure function column_energy(levels, ps, surface_geopotential, t, u, v, tracers) result(energy)
    type(hybrid_levels), intent(in) :: levels
    real(r8), intent(in) :: ps(:), surface_geopotential(:)
    real(r8), intent(in) :: t(:, :), u(:, :), v(:, :)     !! [level, column]
    real(r8), intent(in) :: tracers(:, :, :)              !! [vapour liquid ice, level, column]
    real(r8) :: energy(size(ps))
    real(r8) :: mass(levels%n_level)
    integer :: column

    do column = 1, size(ps)
      mass = layer_mass(levels, ps(column))
      energy(column) = sum(mass * (heat_capacity * t(:, column) &
                                   + 0.5_r8 * (u(:, column)**2 + v(:, column)**2) &
                                   + surface_geopotential(column) &
                                   + latent_vaporization * tracers(i_vapor, :, column) &
                                   - latent_fusion * tracers(i_ice, :, column)))
    end do
  end function column_energy

  !> Water of all kinds in every column [column] in kg/m2.
  pure function column_water(levels, ps, tracers) result(water)
    type(hybrid_levels), intent(in) :: levels
    real(r8), intent(in) :: ps(:)
    real(r8), intent(in) :: tracers(:, :, :)              !! [vapour liquid ice, level, column]
    real(r8) :: water(size(ps))
    integer :: column

    do column = 1, size(ps)
      water(column) = sum(layer_mass(levels, ps(column)) * sum(tracers(:, :, column), dim=1))
    end do
  end function column_water

  !> Global mean of the axial angular momentum, relative and planetary, in kg/s.
  pure function angular_momentum(grid, levels, ps, u) result(momentum)
    type(gaussian_grid), intent(in) :: grid
    type(hybrid_levels), intent(in) :: levels
    real(r8), intent(in) :: ps(:)
    real(r8), intent(in) :: u(:, :)                       !! [level, column]
    real(r8) :: momentum
    real(r8) :: of_column(grid%n_column), arm
    integer :: column

    do column = 1, grid%n_column
      arm = earth_radius * cos(grid%column_latitude(column))
      of_column(column) = arm &
        * sum(layer_mass(levels, ps(column)) * (u(:, column) + earth_rotation * arm))
    end do
    momentum = global_mean(grid, of_column)
  end function angular_momentum

  !> Global mean of the axial torque of an eastward stress [column] in N/m2, in N/m.
  pure function zonal_torque(grid, stress) result(torque)
    type(gaussian_grid), intent(in) :: grid
    real(r8), intent(in) :: stress(:)
    real(r8) :: torque
    real(r8) :: of_column(grid%n_column)
    integer :: column

    do column = 1, grid%n_column
      ! not of column_latitude: gfortran would vectorize that cosine, which has other last bits
      of_column(column) = stress(column) * earth_radius &
        * cos(grid%latitude((column - 1) / grid%n_lon + 1))
    end do
    torque = global_mean(grid, of_column)
  end function zonal_torque

  !> The header, in the order of values.
  pure function names(self) result(text)
    class(budget_layout), intent(in) :: self
    character(len=:), allocatable :: text

    text = 'toa_net_W_m2'
    if (self%has_emulator) text = 'toa_net_inferred_W_m2'
    text = 'step,day,energy_J_m2,' // text // ',surface_net_W_m2,energy_fixer_W_m2,' // &
           'emulated_energy_residual_W_m2,water_kg_m2,precipitation_mm_day,evaporation_mm_day,' // &
           'transport_water_mm_day,emulated_water_residual_mm_day,limiter_water_mm_day,' // &
           'limited_cells,angular_momentum_kg_s,surface_torque_N_m,emulated_torque_N_m,' // &
           'temperature_min_K,temperature_max_K,wind_max_m_s,surface_pressure_Pa'
    if (self%has_range_policy) text = text // &
      ',range_clipped_values,range_heating_W_m2,range_mass_share'
  end function names

  !> All of a row but its step.
  pure function values(self, row)
    class(budget_layout), intent(in) :: self
    type(budget_row), intent(in) :: row
    real(r8), allocatable :: values(:)

    values = [row%day, row%energy, &
              merge(row%toa_net_inferred, row%toa_net, self%has_emulator), row%surface_net, &
              row%energy_fixer, row%emulated_energy_residual, row%water, row%precipitation, &
              row%evaporation, row%transport_water, row%emulated_water_residual, &
              row%limiter_water, row%limited_cells, row%angular_momentum, row%surface_torque, &
              row%emulated_torque, row%temperature_min, row%temperature_max, row%wind_max, &
              row%surface_pressure]
    if (self%has_range_policy) values = [values, row%range_clipped, row%range_heating, &
                                         row%range_mass_share]
  end function values

  !> Goes on in a file, read up to its header, to after the row of last_step, or before the first
  !! that is later or not whole.
  subroutine find_budget_row(unit, layout, last_step, found)
    integer, intent(in) :: unit
    type(budget_layout), intent(in) :: layout
    integer, intent(in) :: last_step
    integer, intent(out) :: found                    !! Step of the row before, 0 if there is none.
    character(len=row_length) :: line
    real(r8), allocatable :: row(:)
    integer :: step, failed

    allocate (row(size(layout%values(budget_row()))))
    found = 0
    do while (found < last_step)
      read (unit, '(a)', iostat=failed) line
      if (failed == 0) read (line, *, iostat=failed) step, row
      if (failed == 0 .and. step > found .and. step <= last_step) then
        found = step
      else
        backspace (unit)                             ! of this line, or of the end
        exit
      end if
    end do
  end subroutine find_budget_row

  !> One line of comma-separated values, all digits kept.
  subroutine write_budget_row(unit, layout, row, failed, message)
    integer, intent(in) :: unit
    type(budget_layout), intent(in) :: layout
    type(budget_row), intent(in) :: row
    integer, intent(out) :: failed           !! 0, or why the line could not be written, in message.
    character(len=*), intent(inout) :: message

    write (unit, '(i0,*(:,",",es24.16e3))', iostat=failed, iomsg=message) row%step, &
      layout%values(row)
  end subroutine write_budget_row

end module aqua_budgets
