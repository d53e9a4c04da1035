!> Completes the budget of a step from what the columns were given and what they made.
module aqua_summary
  use aqua_budgets, only: budget_row, global_mean, layer_mass, zonal_torque
  use aqua_column_table, only: column_table
  use aqua_constants, only: heat_capacity, latent_fusion, latent_vaporization, r8, &
                            seconds_per_day, water_density
  use aqua_grid, only: gaussian_grid
  use aqua_levels, only: hybrid_levels
  implicit none (type, external)
  private

  public :: summarize_columns, mm_per_day

contains

  !> A mass of water [kg/m2] gained over a time [s], in mm/day.
  pure function mm_per_day(mass, time) result(rate)
    real(r8), intent(in) :: mass
    real(r8), intent(in) :: time
    real(r8) :: rate

    rate = mass / time * seconds_per_day
  end function mm_per_day

  !> Global means of fluxes, and of what the emulated part made from nothing. An emulator does not
  !! say what crosses the top of the atmosphere: where it feeds back, the flux there is what closes
  !! its energy, and no residual of energy can be told.
  subroutine summarize_columns(grid, levels, inputs, results, dt, radiation_known, row)
    type(gaussian_grid), intent(in) :: grid
    type(hybrid_levels), intent(in) :: levels
    type(column_table), intent(in) :: inputs
    type(column_table), intent(in) :: results
    real(r8), intent(in) :: dt                           !! [s]
    logical, intent(in) :: radiation_known               !! FSNT and FLUT belong to the tendencies
                                                         !! that were applied.
    type(budget_row), intent(inout) :: row
    real(r8), dimension(grid%n_column) :: surface_radiation, snow, heating, water, stress
    real(r8) :: gained

    surface_radiation = of(results, 'cam_out_NETSW') + of(results, 'cam_out_FLWDS') &
      - of(inputs, 'cam_in_LWUP')
    snow = water_density * of(results, 'cam_out_PRECSC')
    call column_sources(levels, inputs, results, dt, heating, water, stress)

    row%precipitation = mm_per_day(water_density * global_mean(grid, &
      of(results, 'cam_out_PRECC')), 1.0_r8)
    row%evaporation = mm_per_day(global_mean(grid, &
      of(results, 'pbuf_LHFLX') / latent_vaporization), 1.0_r8)
    row%emulated_water_residual = row%precipitation &
                                  + mm_per_day(global_mean(grid, &
                                  water - of(results, 'limiter_water') / dt), 1.0_r8)
    row%limiter_water = mm_per_day(global_mean(grid, of(results, 'limiter_water')), dt)
    row%limited_cells = sum(of(results, 'limited_cells'))
    row%surface_net = global_mean(grid, surface_radiation - of(results, 'pbuf_LHFLX') &
                                  - of(results, 'pbuf_SHFLX') &
                                  - latent_fusion * snow)
    gained = global_mean(grid, heating + surface_radiation - latent_fusion * snow)
    if (radiation_known) then
      row%toa_net = global_mean(grid, of(results, 'FSNT') - of(results, 'FLUT'))
      row%emulated_energy_residual = gained - row%toa_net
    else
      row%toa_net = gained
    end if
    row%surface_torque = zonal_torque(grid, of(results, 'pbuf_TAUX'))
    row%emulated_torque = zonal_torque(grid, stress)
  end subroutine summarize_columns

  !> A scalar of a table, [column].
  pure function of(table, name) result(values)
    type(column_table), intent(in) :: table
    character(len=*), intent(in) :: name
    real(r8) :: values(table%n_column)

    values = table%values(table%row(name), :)
  end function of

  !> What the emulated part adds to every column: energy [W/m2], water [kg/m2/s], eastward momentum
  !! [N/m2].
  pure subroutine column_sources(levels, inputs, results, dt, heating, water, stress)
    type(hybrid_levels), intent(in) :: levels
    type(column_table), intent(in) :: inputs
    type(column_table), intent(in) :: results
    real(r8), intent(in) :: dt
    real(r8), intent(out) :: heating(:), water(:), stress(:)
    real(r8) :: mass(levels%n_level), kinetic(levels%n_level)
    integer :: n, column

    n = levels%n_level
    do column = 1, inputs%n_column
      associate (state => inputs%values(:, column), made => results%values(:, column))
        mass = layer_mass(levels, state(10 * n + 1))
        kinetic = made(4 * n + 1:5 * n) * (state(4 * n + 1:5 * n) &
                                           + 0.5_r8 * dt * made(4 * n + 1:5 * n)) &
                  + made(5 * n + 1:6 * n) * (state(5 * n + 1:6 * n) &
                                             + 0.5_r8 * dt * made(5 * n + 1:6 * n))
        heating(column) = sum(mass * (heat_capacity * made(:n) &
                                      + latent_vaporization * made(n + 1:2 * n) &
                                      - latent_fusion * made(3 * n + 1:4 * n) + kinetic))
        water(column) = sum(mass * (made(n + 1:2 * n) + made(2 * n + 1:3 * n) &
                                    + made(3 * n + 1:4 * n)))
        stress(column) = sum(mass * made(4 * n + 1:5 * n))
      end associate
    end do
  end subroutine column_sources

end module aqua_summary
