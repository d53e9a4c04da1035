"""Physical constants of E3SM that enter the physics of the graph (shr_const_mod); the manifest
records them.
"""

GRAVITY = 9.80616  # m/s2
GAS_CONSTANT_DRY_AIR = 287.04231  # J/kg/K, 6.02214e26 * 1.38065e-23 / 28.966
HEAT_CAPACITY_DRY_AIR = 1004.64  # J/kg/K
RD_OVER_CP = GAS_CONSTANT_DRY_AIR / HEAT_CAPACITY_DRY_AIR
VIRTUAL_FACTOR = (
    28.966 / 18.016 - 1.0
)  # Rv/Rd - 1 from the molecular weights of dry air and water, kg/kmol
LATENT_HEAT_VAPORIZATION = 2.501e6  # J/kg
LATENT_HEAT_FUSION = 3.337e5  # J/kg
STEFAN_BOLTZMANN = 5.67e-8  # W/m2/K4
WATER_DENSITY = 1000.0  # kg/m3, of precipitation rates in m/s
SECONDS_PER_DAY = 86400

RECORDED = {
    "gravity_m_s2": GRAVITY,
    "gas_constant_dry_air_j_kg_k": GAS_CONSTANT_DRY_AIR,
    "heat_capacity_dry_air_j_kg_k": HEAT_CAPACITY_DRY_AIR,
    "virtual_temperature_factor": VIRTUAL_FACTOR,
    "latent_heat_vaporization_j_kg": LATENT_HEAT_VAPORIZATION,
    "latent_heat_fusion_j_kg": LATENT_HEAT_FUSION,
    "stefan_boltzmann_w_m2_k4": STEFAN_BOLTZMANN,
    "water_density_kg_m3": WATER_DENSITY,
}
"""What the manifest records, with units in the names."""
