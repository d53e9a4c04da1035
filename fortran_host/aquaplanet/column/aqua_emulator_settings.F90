!> Settings of the emulator.
module aqua_emulator_settings
  use aqua_constants, only: r8
  use host_namelists, only: namelist_group, path_length, text_length
  implicit none (type, external)
  private

  public :: emulator_settings

  integer, parameter :: max_variables = 64

  !> Group &emulator.
  type, extends(namelist_group) :: emulator_settings
    character(len=path_length) :: package = ''                  !! Package file; '' runs the
                                                                !! reference physics alone.
    character(len=text_length) :: package_name = ''             !! For the attributes of files.
    character(len=text_length) :: pinned_sha256 = ''
    character(len=text_length) :: device = 'cpu'
    integer :: threads = 1
    integer :: micro_batch = 64
    !> Constraints of the package that are left out.
    character(len=text_length) :: constraints_off(max_variables) = ''
    character(len=text_length) :: mode = 'full'            !! full, partial or shadow.
    !> Outputs that are blended in partial mode.
    character(len=text_length) :: variables(max_variables) = ''
    character(len=text_length) :: feedback = 'reference'   !! In shadow mode: reference or emulator.
    integer :: spin_up_steps = 0
    character(len=text_length) :: ramp = 'constant'        !! constant, linear or step.
    real(r8) :: ramp_factor = 1.0_r8
    integer :: ramp_steps = 0
    integer :: ramp_on_steps = 0
    integer :: ramp_off_steps = 0
  contains
    procedure :: transfer
  end type emulator_settings

contains

  subroutine transfer(self, unit, writing, failed, message)
    class(emulator_settings), intent(inout), target :: self
    integer, intent(in) :: unit
    logical, intent(in) :: writing
    integer, intent(out) :: failed
    character(len=*), intent(inout) :: message
    character(len=:), pointer :: package, package_name, pinned_sha256, device, mode, feedback, ramp
    character(len=text_length), pointer :: constraints_off(:), variables(:)
    integer, pointer :: threads, micro_batch, spin_up_steps, ramp_steps, ramp_on_steps, &
      ramp_off_steps
    real(r8), pointer :: ramp_factor
    namelist /emulator/ package, package_name, pinned_sha256, device, threads, micro_batch, &
      constraints_off, mode, variables, feedback, spin_up_steps, ramp, ramp_factor, ramp_steps, &
      ramp_on_steps, ramp_off_steps

    package => self%package
    package_name => self%package_name
    pinned_sha256 => self%pinned_sha256
    device => self%device
    threads => self%threads
    micro_batch => self%micro_batch
    constraints_off => self%constraints_off
    mode => self%mode
    variables => self%variables
    feedback => self%feedback
    spin_up_steps => self%spin_up_steps
    ramp => self%ramp
    ramp_factor => self%ramp_factor
    ramp_steps => self%ramp_steps
    ramp_on_steps => self%ramp_on_steps
    ramp_off_steps => self%ramp_off_steps
    if (writing) then
      write (unit, nml=emulator, iostat=failed, iomsg=message)
    else
      read (unit, nml=emulator, iostat=failed, iomsg=message)
    end if
  end subroutine transfer

end module aqua_emulator_settings
