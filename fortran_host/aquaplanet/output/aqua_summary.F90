!> Completes the budget of a step from what the columns were given and what they made.
module aqua_summary
  use aqua_budgets, only: budget_row, global_mean, layer_mass, zonal_torque
  use aqua_column_table, only: host_columns, input_columns, output_columns
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
    real(r8), intent(in) :: mass, time
    real(r8) :: rate

    rate = mass / time * seconds_per_day
  end function mm_per_day

  !> Global means of fluxes, of what the emulated part made from nothing, and of what a range policy
  !! did. An emulator does not say what crosses the top of the atmosphere: where it feeds back, the
  !! flux there is inferred, and no residual of energy can be told.
  subroutine summarize_columns(grid, levels, given, made, host, dt, radiation_known, row)
    type(gaussian_grid), intent(in) :: grid
    type(hybrid_levels), intent(in) :: levels
    type(input_columns), intent(in) :: given             !! To the emulated part.
    type(output_columns), intent(in) :: made             !! What of it was applied.
    type(host_columns), intent(in) :: host
    real(r8), intent(in) :: dt                           !! [s]
    logical, intent(in) :: radiation_known               !! FSNT and FLUT belong to the tendencies
                                                         !! that were applied.
    type(budget_row), intent(inout) :: row
    real(r8), dimension(grid%n_column) :: surface_radiation, snow, heating, water, stress

    surface_radiation = made%netsw + made%flwds - given%lwup
    snow = water_density * made%precsc
    call column_sources(levels, given, made, dt, heating, water, stress)

    row%precipitation = mm_per_day(water_density * global_mean(grid, made%precc), 1.0_r8)
    row%evaporation = mm_per_day(global_mean(grid, host%lhflx / latent_vaporization), 1.0_r8)
    row%emulated_water_residual = row%precipitation &
      + mm_per_day(global_mean(grid, water - host%limiter_water / dt), 1.0_r8)
    row%limiter_water = mm_per_day(global_mean(grid, host%limiter_water), dt)
    row%limited_cells = sum(host%limited_cells)
    row%surface_net = global_mean(grid, surface_radiation - host%lhflx - host%shflx &
                                  - latent_fusion * snow)
    row%toa_net_inferred = global_mean(grid, heating + surface_radiation - latent_fusion * snow)
    if (radiation_known) then
      row%toa_net = global_mean(grid, host%fsnt - host%flut)
      row%emulated_energy_residual = row%toa_net_inferred - row%toa_net
    end if
    row%surface_torque = zonal_torque(grid, host%taux)
    row%emulated_torque = zonal_torque(grid, stress)
    row%range_clipped = global_mean(grid, host%range_clipped)
    row%range_heating = global_mean(grid, host%range_heating)
    row%range_mass_share = global_mean(grid, host%range_mass_share)
  end subroutine summarize_columns

  !> What the emulated part adds to every column: energy [W/m2], water [kg/m2/s], eastward momentum
  !! [N/m2].
  pure subroutine column_sources(levels, given, made, dt, heating, water, stress)
    type(hybrid_levels), intent(in) :: levels
    type(input_columns), intent(in) :: given
    type(output_columns), intent(in) :: made
    real(r8), intent(in) :: dt
    real(r8), intent(out) :: heating(:), water(:), stress(:)
    real(r8), dimension(levels%n_level) :: mass, kinetic
    integer :: i

    do i = 1, given%n_column
      mass = layer_mass(levels, given%ps(i))
      associate (dudt => made%dudt(:, i), dvdt => made%dvdt(:, i))
        kinetic = dudt * (given%u(:, i) + 0.5_r8 * dt * dudt) &
                  + dvdt * (given%v(:, i) + 0.5_r8 * dt * dvdt)
        stress(i) = sum(mass * dudt)
      end associate
      heating(i) = sum(mass * (heat_capacity * made%dtdt(:, i) &
                               + latent_vaporization * made%dqdt(:, i) &
                               - latent_fusion * made%dqidt(:, i) + kinetic))
      water(i) = sum(mass * (made%dqdt(:, i) + made%dqcdt(:, i) + made%dqidt(:, i)))
    end do
  end subroutine column_sources

end module aqua_summary
